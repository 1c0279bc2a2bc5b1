"""How much precise mode knows: of engines' caches, from their KV events, and of prompts, from their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from extproc.fleet.kv_events import GPU, HOST
from extproc.fleet.state import Fleet
from extproc.telemetry.instruments import Family, Reading

_STATES = ("whole", "partial", "down")


class PrecisePage:
    """Read at the moment of the scrape.

    Args:
        outcomes: requests by model and whether their tokens were known: `exact`, or why not.
    """

    title = "Precise mode"

    def __init__(self, fleet: Fleet, outcomes: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._fleet = fleet
        self._outcomes = outcomes

    def families(self) -> Iterator[Family]:
        blocks = self._fleet.blocks
        followed = blocks.followed
        yield Reading(
            "kvgate_prompts_tokenised_total",
            "counter",
            "Requests in precise mode by whether their tokens were known: exact, or why not, or not to the end.",
            ("model", "outcome"),
            [(labels, count) for labels, count in sorted(self._outcomes().items())],
        )
        yield Reading(
            "kvgate_kv_events_state",
            "gauge",
            "1 for what a replica's KV events tell of its cache: all (whole), a part (partial) or nothing (down).",
            ("replica", "state"),
            [((name, state), int(blocks.state(name) == state)) for name in followed for state in _STATES],
        )
        yield Reading(
            "kvgate_kv_events_blocks",
            "gauge",
            "Blocks that the replica reported and holds, by medium: its own cache (GPU) or the host's (CPU).",
            ("replica", "medium"),
            [((name, medium), blocks.held_blocks(name, medium)) for name in followed for medium in (GPU, HOST)],
        )
        yield Reading(
            "kvgate_kv_events_faults_total",
            "counter",
            "Reported blocks that could not be used, by kind.",
            ("kind",),
            [((kind,), count) for kind, count in sorted(blocks.faults.items())],
        )
