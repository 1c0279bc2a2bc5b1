"""A new configuration for a processor that is running, without a server around it."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.clock import ManualClock
from extproc.config.build import build
from extproc.config.settings import Settings
from extproc.fleet.events import LoadReported
from extproc.server import Configuration, Processor
from tests.unit.say import chain, routed, served

PROMPT = chain(1, 2, 3)


def configuration(replicas: tuple[str, ...] = ("a", "b"), **routing: Any) -> Configuration:
    replica_urls = [{"name": name, "url": f"http://127.0.0.1:{8000 + ord(name)}"} for name in replicas]
    settings = Settings.model_validate(
        {
            "providers": [{"name": "p", "replicas": replica_urls}],
            "models": [{"name": "m", "deployments": [{"provider": "p"}]}],
            "routing": routing,
        }
    )
    return Configuration(settings, build(settings))


async def processor(**routing: Any) -> Processor:
    """One that has taken its configuration and is not serving."""
    found = Processor(configuration(**routing), clock=ManualClock())
    await found.reconfigure(configuration(**routing))
    return found


async def test_how_failures_are_taken_changes_with_the_file() -> None:
    gateway = await processor(failure_threshold=3, cooldown_s=15.0)
    await gateway.reconfigure(configuration(failure_threshold=1, cooldown_s=60.0))
    gateway.fleet.apply(routed("t", "a", PROMPT))
    gateway.fleet.apply(served("t", None, at_s=1.0, status=503))
    assert not gateway.fleet.replicas["a"].proven
    assert gateway.fleet.replicas["a"].ask_after_s == 61.0


async def test_how_latency_is_smoothed_changes_with_the_file() -> None:
    gateway = await processor(latency_ewma_alpha=0.3)
    await gateway.reconfigure(configuration(latency_ewma_alpha=1.0))
    for ticket, latency_s in (("t", 1.0), ("u", 5.0)):
        gateway.fleet.apply(routed(ticket, "a", PROMPT))
        gateway.fleet.apply(served(ticket, "a", at_s=latency_s))
    assert gateway.fleet.replicas["a"].latency_s == 5.0


async def test_what_waits_for_the_next_start_is_said_and_nothing_else_is(caplog: pytest.LogCaptureFixture) -> None:
    gateway = await processor()
    await gateway.reconfigure(configuration(failure_threshold=7, cooldown_s=1.0, latency_ewma_alpha=0.5))
    assert not caplog.messages
    await gateway.reconfigure(configuration(prefix_kv_aware={"max_blocks_per_replica": 7}))
    assert caplog.messages == ["routing.prefix_kv_aware.max_blocks_per_replica takes effect at the next start"]


async def test_where_metrics_are_read_is_looked_up_once_for_a_configuration() -> None:
    gateway = await processor()
    directory = gateway.gateway.catalog.current
    assert directory.metrics_urls == {"a": "http://127.0.0.1:8097/metrics", "b": "http://127.0.0.1:8098/metrics"}
    assert directory.metrics_urls is directory.metrics_urls
    assert directory.health_urls is directory.health_urls


async def test_requests_in_flight_end_well_when_their_replica_has_left_the_file() -> None:
    gateway = await processor()
    fleet = gateway.fleet
    fleet.apply(routed("t", "a", PROMPT))
    await gateway.reconfigure(configuration())
    assert fleet.replicas["a"].inflight == 1
    await gateway.reconfigure(configuration(("b", "c")))
    fleet.apply(LoadReported(2.0, "a", 5, 5, 0.5))
    fleet.apply(served("t", "c", at_s=3.0))
    assert set(fleet.replicas) == {"b", "c"}
    assert fleet.outstanding == fleet.replicas["c"].inflight == 0
