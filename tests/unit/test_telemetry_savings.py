"""What caches saved, and what replicas had to do."""

from __future__ import annotations

from dataclasses import replace

from extproc.fleet.events import ReplicaDown, Usage
from extproc.telemetry.metrics import Metrics
from tests.unit.say import fleet_of
from tests.unit.test_telemetry_metrics import OUTCOME, scraped


def test_tokens_in_an_engines_cache_are_worth_the_seconds_that_its_replica_would_have_needed() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a", "b")
    metrics.watch_fleet(fleet, lambda: 0.0)
    speed = fleet.speed(fleet.replicas["a"], "m").tokens_per_s
    metrics.observe(OUTCOME)
    page = scraped(metrics)
    assert page["kvgate_cache_saved_tokens_total", "prefix", "m"] == 750
    assert page["kvgate_cache_saved_seconds_total", "prefix", "m"] == 600 / speed
    assert scraped(metrics)["kvgate_cache_saved_seconds_total", "prefix", "m"] == 600 / speed


def test_an_answer_given_again_saves_its_prompt_and_its_words() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a", "b")
    metrics.watch_fleet(fleet, lambda: 0.0)
    metrics.saved("exact", "m", 800, 200)
    metrics.saved("semantic", "m", 80, 20)
    page, speed = scraped(metrics), fleet.speed(fleet.replicas["a"], "m").tokens_per_s
    assert page["kvgate_cache_saved_tokens_total", "exact", "m"] == 1000
    assert page["kvgate_cache_saved_tokens_total", "semantic", "m"] == 100
    assert page["kvgate_cache_saved_seconds_total", "exact", "m"] == 800 / speed


def test_tokens_that_a_replica_computed_and_had_are_told_apart() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a")
    metrics.watch_fleet(fleet, lambda: 0.0)
    metrics.observe(OUTCOME)
    metrics.observe(replace(OUTCOME, cached_tokens=None, usage=Usage()))
    page = scraped(metrics)
    assert page["kvgate_replica_requests_total", "a"] == 2
    assert page["kvgate_replica_cached_tokens_total", "a"] == 750
    assert page["kvgate_replica_uncached_tokens_total", "a"] == 500 + 360


def test_a_count_that_cannot_be_believed_saves_nothing() -> None:
    metrics = Metrics(lambda: 64)
    metrics.observe(replace(OUTCOME, usage=Usage(10**18, 1, 10**18)))
    assert not [each for each in scraped(metrics) if each[0] == "kvgate_cache_saved_tokens_total"]


def test_a_replica_that_is_gone_is_forgotten_and_its_tokens_are_still_worth_something() -> None:
    metrics, fleet = Metrics(lambda: 64), fleet_of("a", "b")
    metrics.watch_fleet(fleet, lambda: 0.0)
    metrics.observe(OUTCOME)
    fleet.apply(ReplicaDown(1.0, "a"))
    page = scraped(metrics)
    assert page["kvgate_cache_saved_seconds_total", "prefix", "m"] > 0
    assert ("kvgate_replica_requests_total", "a") not in page
