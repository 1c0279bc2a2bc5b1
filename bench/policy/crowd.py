"""Many clients at once: equal requests, of which one goes upstream, and streams that want more than a budget has."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.common.errors import BenchFailed
from bench.overhead.cases import PATH
from bench.policy.local import before_admission, local_gateway
from bench.policy.stage import BUDGET_USD, INSTANT, PRICES, SLOW, Stage
from extproc.config.policies import DEFAULT_TENANT
from extproc.gateway.admit import Admit
from extproc.tenants.rules import NUSD_PER_USD

EQUAL, STREAMS = 100, 200
_EQUAL_TOKENS, _STREAM_TOKENS = 40, 24
_SETTLED_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Flight:
    """Equal requests, half of them streamed, spread over all instances.

    Args:
        upstream: requests that reached replicas, of each round.
        caches: what `x-kvgate-cache` said, of all rounds.
    """

    backend: str
    instances: int
    upstream: tuple[int, ...]
    caches: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Overshoot:
    """Waves of concurrent streams of one tenant, until a whole wave is refused.

    Args:
        admitted: of each wave.
        spent_usd: by what the replicas computed.
        recorded_usd: by the gateway's metric.
        reserved_usd: for one stream.
    """

    backend: str
    instances: int
    admitted: tuple[int, ...]
    budget_usd: float
    spent_usd: float
    recorded_usd: float
    reserved_usd: float

    @property
    def overshoot_usd(self) -> float:
        return max(0.0, self.spent_usd - self.budget_usd)

    @property
    def in_flight_usd(self) -> float:
        """Reserved for all streams that were in flight in the largest wave."""
        return self.reserved_usd * max(self.admitted)


def measure_flight(stage: Stage, rounds: int) -> Flight:
    """Rounds of equal requests, each with a prompt of its own."""
    return asyncio.run(_flight(stage, rounds))


def measure_overshoot(stage: Stage) -> Overshoot:
    """Spends the budget of the default tenant.

    Raises:
        BenchFailed: the gateways have not recorded what was spent, or replies are neither 200 nor 402.
    """
    return asyncio.run(_overshoot(stage))


async def _flight(stage: Stage, rounds: int) -> Flight:
    upstream, caches = [], Counter[str]()
    async with _client() as http:
        for turn in range(rounds):
            before = stage.sims.received
            prompt = f"{stage.name} asks number {turn}"
            bodies = [
                _body(prompt, max_tokens=_EQUAL_TOKENS, temperature=0, stream=number % 4 < 2) for number in range(EQUAL)
            ]
            urls = [instance.url for instance in stage.caching]
            replies = await _all(http, urls, bodies)
            if {status for status, _ in replies} != {200}:
                raise BenchFailed(f"statuses of equal requests: {Counter(status for status, _ in replies)}")
            caches.update(cache for _, cache in replies)
            upstream.append(stage.sims.received - before)
    return Flight(stage.name, len(stage.caching), tuple(upstream), dict(caches))


async def _overshoot(stage: Stage) -> Overshoot:
    mark = f"budget-{stage.name}"
    admitted: list[int] = []
    urls = [instance.url for instance in stage.limiting]
    async with _client() as http:
        while not admitted or admitted[-1]:
            bodies = [_stream(number) for number in range(STREAMS)]
            replies = await _all(http, urls, bodies, mark)
            statuses = Counter(status for status, _ in replies)
            if set(statuses) - {200, 402}:
                raise BenchFailed(f"statuses of streams on a budget: {dict(statuses)}")
            admitted.append(statuses[200])
            spent_usd = _spent_usd(stage, mark)
            await _recorded(stage, spent_usd)
    return Overshoot(
        stage.name,
        len(urls),
        tuple(admitted),
        BUDGET_USD,
        spent_usd,
        await _recorded(stage, spent_usd),
        await _reserved_usd(),
    )


def _spent_usd(stage: Stage, mark: str) -> float:
    done = [entry for state in stage.sims.states() for entry in state["requests"]]
    ours = [entry for entry in done if entry["request_id"].startswith(mark)]
    return sum(_usd(entry["prompt_tokens"], entry["completion_tokens"]) for entry in ours)


async def _recorded(stage: Stage, spent_usd: float) -> float:
    """What the gateways say, once it is what was spent: an instance knows what Redis told it last."""
    give_up_s = time.monotonic() + _SETTLED_WITHIN_S
    while True:
        told = [each.metric("kvgate_budget_spent_usd", tenant=DEFAULT_TENANT) for each in stage.limiting]
        if abs(max(told) - spent_usd) < 1e-6:
            return max(told)
        if time.monotonic() > give_up_s:
            raise BenchFailed(f"{spent_usd} USD were spent, and the gateways have recorded {told}")
        await asyncio.sleep(0.02)


async def _reserved_usd() -> float:
    """For one stream, by a gateway that has seen no usage yet."""
    gateway, parts = local_gateway(None)
    exchange = await before_admission(gateway, json.dumps({**_stream(0), "model": INSTANT}).encode())
    await Admit(parts.ledger)(exchange)
    return exchange.bill.cost_reserved_nusd / NUSD_PER_USD if exchange.bill else 0.0


def _usd(prompt_tokens: int, completion_tokens: int) -> float:
    return (prompt_tokens * PRICES["cost_per_1k_input"] + completion_tokens * PRICES["cost_per_1k_output"]) / 1000


def _stream(number: int) -> dict[str, Any]:
    return _body(f"Client {number:03} tells of its journey.", max_tokens=_STREAM_TOKENS, temperature=1, stream=True)


def _body(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": SLOW, "messages": [{"role": "user", "content": prompt}], **fields}


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(30))


async def _all(
    http: aiohttp.ClientSession, urls: Sequence[str], bodies: Sequence[Mapping[str, Any]], mark: str = ""
) -> list[tuple[int, str]]:
    """Sends all at once. Of each reply, read whole: status and `x-kvgate-cache`."""

    async def post(number: int, body: Mapping[str, Any]) -> tuple[int, str]:
        headers = {"x-request-id": f"{mark}-{number}"} if mark else {}
        async with http.post(urls[number % len(urls)] + PATH, json=body, headers=headers) as response:
            await response.read()
            return response.status, response.headers.get("x-kvgate-cache", "")

    return await asyncio.gather(*(post(number, body) for number, body in enumerate(bodies)))
