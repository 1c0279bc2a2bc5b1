"""How Python collects garbage in the processor."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from extproc.tuning import collect_garbage_seldom


@pytest.fixture
def collector() -> Iterator[tuple[int, int, int]]:
    """Its thresholds, as they are and will be again."""
    thresholds = gc.get_threshold()
    yield thresholds
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_young_objects_are_collected_as_ever_and_old_ones_seldom(collector: tuple[int, int, int]) -> None:
    collect_garbage_seldom()
    young, middle, old = gc.get_threshold()
    assert (young, middle) == collector[:2]
    assert old >= 100 * collector[2]
    assert gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_what_was_imported_is_not_looked_at_again() -> None:
    collect_garbage_seldom()
    assert gc.get_freeze_count() > 1000
