"""What a processor that was put together has on its metrics page."""

from __future__ import annotations

from typing import Any

from extproc.config.build import build
from extproc.config.settings import Settings
from extproc.server import Configuration, Processor

FLEET: dict[str, Any] = {
    "providers": [{"name": "p", "replicas": ["http://127.0.0.1:8000"]}],
    "models": [{"name": "m", "deployments": [{"provider": "p"}]}],
}


def page_of(**sections: Any) -> str:
    settings = Settings.model_validate({**FLEET, **sections})
    return Processor(Configuration(settings, build(settings))).metrics.exposition().decode()


async def test_where_redis_is_stands_there_without_what_opens_it() -> None:
    shared = {"enabled": True, "backend": "redis", "redis_url": "rediss://me:secret-4711@cache.example:6380/2"}
    page = page_of(ratelimit=shared, budget=shared)
    assert 'kvgate_redis_up{redis="cache.example:6380/2"} 1' in page
    assert "secret-4711" not in page


async def test_all_that_is_known_from_the_start_is_there_before_the_first_request() -> None:
    page = page_of()
    for line in (
        "kvgate_inflight_requests 0",
        "kvgate_routing_failovers_total 0",
        "kvgate_config_last_reload_failed 0",
        'kvgate_faults_total{kind="unmatched report"} 0',
    ):
        assert line in page.splitlines()
