"""Counting, and the text that comes of it, held against what Prometheus' own client reads and writes."""

from __future__ import annotations

import math

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from extproc.telemetry.instruments import OTHER, Counter, Family, Histogram, Reading, exposition, gauge

ODD = 'a "quoted" back\\\\slash\\nand a new line, {braces} = é'


def read(*families: Family) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = text_string_to_metric_families(exposition(iter(families)))
    return {(each.name, tuple(each.labels.items())): each.value for family in page for each in family.samples}


def test_odd_label_values_and_texts_survive_the_way_to_prometheus() -> None:
    counter = Counter("c_total", ODD, "label")
    counter.of(ODD).value += 2
    assert read(counter) == {("c_total", (("label", ODD),)): 2}


def test_an_empty_label_is_no_label() -> None:
    counter = Counter("c_total", "Text.", "a", "b")
    counter.of("", "x").value += 1
    assert read(counter) == {("c_total", (("b", "x"),)): 1}


def test_a_family_without_labels_is_there_before_anything_is_counted() -> None:
    assert read(Counter("c_total", "Text."), gauge("g", "Text.", 0.5)) == {("c_total", ()): 0, ("g", ()): 0.5}


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300, 5e-324, 0.1 + 0.2, 10**17, True])
def test_every_number_is_read_as_it_was(value: float) -> None:
    assert read(gauge("g", "Text.", value)) == {("g", ()): value}


def test_what_is_no_number_is_one_to_prometheus() -> None:
    assert math.isnan(read(gauge("g", "Text.", math.nan))["g", ()])


@given(st.lists(st.floats(-10, 10)))
def test_histograms_count_as_those_of_the_official_client(values: list[float]) -> None:
    bounds = (-1.0, 0.0, 0.5, 2.5)
    ours = Histogram("h", "Text.", bounds, "model")
    registry = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Histogram("h", "Text.", ["model"], buckets=bounds, registry=registry)
    for value in values:
        ours.of("m").observe(value)
        theirs.labels("m").observe(value)
    ours.of("m"), theirs.labels("m")
    read_ours, read_theirs = (
        {
            (each.name, frozenset(each.labels.items())): each.value
            for family in text_string_to_metric_families(page)
            for each in family.samples
            if each.name in ("h_bucket", "h_count")  # where buckets may be negative theirs has no sum
        }
        for page in (exposition(iter([ours])), prometheus_client.generate_latest(registry).decode())
    )
    assert read_ours == read_theirs


def test_what_comes_after_the_bound_is_counted_together() -> None:
    counter = Counter("c_total", "Text.", "tenant", "code", most=3)
    for number in range(100):
        counter.of(f"t{number}", "x").value += 1
    counter.of("t0", "x").value += 1
    assert len(counter) == 4
    assert read(counter)["c_total", (("tenant", OTHER), ("code", OTHER))] == 97
    assert read(counter)["c_total", (("tenant", "t0"), ("code", "x"))] == 2


def test_a_series_needs_a_value_for_every_label() -> None:
    with pytest.raises(ValueError, match="c_total"):
        Counter("c_total", "Text.", "a", "b").of("x")


def test_a_summary_is_read_as_sum_and_count() -> None:
    summary = Reading("s", "summary", "Text.", ("step",), [(("_count", "x"), 2), (("_sum", "x"), 0.5)])
    assert read(summary) == {("s_count", (("step", "x"),)): 2, ("s_sum", (("step", "x"),)): 0.5}
