"""`kv_events`, `kv_events_url` and `replay_url` -> where each replica publishes its KV events."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from extproc.config.build import build
from extproc.config.errors import ConfigError
from extproc.config.settings import Settings
from extproc.config.topology import KvFeed


def settings(*providers: dict[str, Any]) -> Settings:
    named = [{"name": f"p{number}", **provider} for number, provider in enumerate(providers)]
    deployments = [{"provider": provider["name"]} for provider in named]
    return Settings.model_validate({"providers": named, "models": [{"name": "m", "deployments": deployments}]})


def replicas(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"url": f"http://{name}:8000", "name": name, **more} for name in names]


def feeds(*providers: dict[str, Any]) -> dict[str, KvFeed]:
    return build(settings(*providers)).kv_feeds


def complaint(*providers: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(settings(*providers))
    return str(caught.value)


def test_without_a_word_there_are_none() -> None:
    assert feeds({"replicas": replicas("a", "b")}) == {}


def test_a_provider_says_the_ports_of_its_replicas() -> None:
    assert feeds({"replicas": replicas("a", "b"), "kv_events": {}}) == {
        "a": KvFeed("tcp://a:5557", "tcp://a:5558", "kv-events"),
        "b": KvFeed("tcp://b:5557", "tcp://b:5558", "kv-events"),
    }
    without_replay = {"port": 7000, "replay_port": None, "topic": ""}
    assert feeds({"replicas": replicas("a"), "kv_events": without_replay}) == {"a": KvFeed("tcp://a:7000", None, "")}


def test_an_ipv6_address_is_put_in_brackets() -> None:
    found = feeds({"replicas": [{"url": "http://[fd00::1]:8000", "name": "a"}], "kv_events": {}})
    assert found["a"].url == "tcp://[fd00::1]:5557"


def test_a_replica_may_publish_elsewhere() -> None:
    own = replicas("a", kv_events_url="tcp://b:6000", replay_url="tcp://b:6001")
    assert feeds({"replicas": own}) == {"a": KvFeed("tcp://b:6000", "tcp://b:6001", "")}
    assert feeds({"replicas": replicas("a", kv_events_url="ipc:///run/a"), "kv_events": {}}) == {
        "a": KvFeed("ipc:///run/a", None, "kv-events")
    }
    assert feeds({"replicas": replicas("a", replay_url="tcp://b:6001"), "kv_events": {}}) == {
        "a": KvFeed("tcp://a:5557", "tcp://b:6001", "kv-events")
    }


def test_each_rank_publishes_on_ports_of_its_own() -> None:
    feed = KvFeed("tcp://[fd00::1]:5557", "tcp://[fd00::1]:5567", "kv-events")
    assert feed.of_rank(0) == feed
    assert feed.of_rank(2) == KvFeed("tcp://[fd00::1]:5559", "tcp://[fd00::1]:5569", "kv-events")
    assert KvFeed("ipc:///run/a").of_rank(1) == KvFeed("ipc:///run/a")


def test_two_engines_cannot_publish_at_one_address() -> None:
    same_host = [{"url": f"http://a:{port}", "name": f"a{port}"} for port in (8000, 8001)]
    assert complaint({"replicas": same_host, "kv_events": {}}) == (
        "providers[0]: a:8000 and a:8001 would both publish at tcp://a:5557: "
        "give kv_events_url and replay_url with each replica"
    )


def test_one_engine_cannot_publish_at_two() -> None:
    said = complaint(
        {"replicas": replicas("a"), "kv_events": {}}, {"replicas": replicas("a"), "kv_events": {"port": 7000}}
    )
    assert said == "providers[1]: a:8000 publishes its KV events at tcp://a:5557 elsewhere, at tcp://a:7000 here"


def test_a_replica_that_is_listed_twice_need_say_it_once() -> None:
    found = feeds({"replicas": replicas("a"), "kv_events": {}}, {"replicas": replicas("a")})
    assert list(found) == ["a"]


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        ({"replicas": replicas("a"), "kv_events": {"port": 5558}}, "cannot be the same"),
        ({"replicas": replicas("a", replay_url="tcp://a:1")}, "has a replay_url and no KV events"),
        ({"replicas": replicas("a", kv_events_url="http://a:5557")}, "kv_events_url"),
        ({"replicas": replicas("a", kv_events_url="tcp://*:5557")}, "kv_events_url"),
        ({"replicas": replicas("a", kv_events_url="tcp://a:65536")}, "beyond 65535"),
    ],
)
def test_what_makes_no_sense_is_refused(provider: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        settings(provider)
