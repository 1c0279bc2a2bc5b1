"""Metrics in Prometheus' text format: what came of requests (counted as it happens) and what is so now (read when
asked)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from extproc.fleet.outcome import Outcome
from extproc.fleet.state import Fleet
from extproc.metering.metering import Metered
from extproc.telemetry.fleet_page import FleetPage
from extproc.telemetry.genai import GenAi
from extproc.telemetry.instruments import Family, exposition
from extproc.telemetry.phases import Phases
from extproc.telemetry.process_page import ProcessPage
from extproc.telemetry.routing_quality import RoutingQuality
from extproc.telemetry.savings import Savings
from extproc.telemetry.traffic import Traffic


class Page(Protocol):
    """Metrics of one subject."""

    title: str

    def families(self) -> Iterator[Family]:
        """All of them, as of now."""
        ...


class Metrics:
    """All metrics of one processor. Their number is bounded, whatever clients send; see `instruments.py`.

    Args:
        block_size: tokens of text in a fingerprint block, as configured now.
    """

    def __init__(self, block_size: Callable[[], int]) -> None:
        self._traffic = Traffic()
        self._quality = RoutingQuality(block_size)
        self._savings = Savings()
        self._phases = Phases()
        self._genai = GenAi()
        self._pages: list[Page] = [
            *(self._traffic, self._quality, self._savings, self._phases),
            *(self._genai, ProcessPage()),
        ]

    def observe(self, outcome: Outcome) -> None:
        """Counts a request that was served."""
        self._quality.observe(outcome)
        self._savings.observe(outcome)

    def metered(self, metered: Metered) -> None:
        """Counts a request that has ended, by what it took."""
        self._traffic.observe(metered)
        self._genai.observe(metered)

    def looked_up(self, outcome: str) -> None:
        """Counts a look-up for an answer given before."""
        self._traffic.looked_up(outcome)

    def saved(self, cache: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Counts what an answer given before spared the engines."""
        self._savings.answered(cache, model, prompt_tokens, completion_tokens)

    def refused(self, code: str, status: int, tenant: str) -> None:
        """Counts a request that the gateway refused."""
        self._traffic.refused(code, status, tenant)

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        """Counts a request that was sent on."""
        self._quality.decided(model, provider, upstream_model)

    def first_token(self, endpoint: str, provider: str, model: str, ttft_s: float) -> None:
        """Counts a first token that was seen."""
        self._genai.first_token(endpoint, provider, model, ttft_s)

    def took(self, message: str, seconds: float) -> None:
        """Counts the time that the answer to one of Envoy's messages took."""
        self._phases.took(message, seconds)

    def watch(self, page: Page) -> None:
        """Includes what is read when asked."""
        self._pages.append(page)

    def watch_fleet(self, fleet: Fleet, now_s: Callable[[], float]) -> None:
        """Includes the fleet. It knows what tokens that were saved are worth."""
        self._savings.fleet = fleet
        self.watch(FleetPage(fleet, now_s))

    @property
    def pages(self) -> tuple[Page, ...]:
        """What there is, by subject."""
        return tuple(self._pages)

    def families(self) -> Iterator[Family]:
        """Everything."""
        for page in self._pages:
            yield from page.families()

    def exposition(self) -> bytes:
        """The page to scrape."""
        return exposition(self.families()).encode()
