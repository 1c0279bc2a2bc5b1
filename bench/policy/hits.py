"""An exact hit against a request that is routed to a replica that takes no time, over the wire."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass

from bench.common.errors import BenchFailed
from bench.overhead.cases import PATH, Case
from bench.overhead.wrk import Wrk
from bench.policy.stage import INSTANT, Instance, Stage

_WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Post(Case):
    """A request of one's own; `body` is its name."""

    payload: bytes

    @property
    def content(self) -> bytes:
        return self.payload


@dataclass(frozen=True, slots=True)
class HitSample:
    """One repeat: the two taken one after the other."""

    backend: str
    hit_p50_ms: float
    routed_p50_ms: float

    @property
    def ratio(self) -> float:
        return self.hit_p50_ms / self.routed_p50_ms


def measure_hits(stage: Stage, wrk: Wrk, *, seconds: float, repeats: int) -> list[HitSample]:
    """Takes turns at one connection.

    Raises:
        BenchFailed: a request failed, or took the other way.
    """
    gateway = stage.caching[0]
    hit, routed = _post("hit", temperature=0), _post("routed", temperature=1)
    _expect(gateway, hit, "miss")
    _expect(gateway, hit, "exact")
    _expect(gateway, routed, "bypass")
    for case in (hit, routed):
        wrk.run(gateway.url, case, _WARM_UP_S)
    samples = []
    for repeat in range(repeats):
        both = (hit, routed) if repeat % 2 else (routed, hit)
        p50_ms = {case.body: wrk.run(gateway.url, case, seconds).p50_ms for case in both}
        samples.append(HitSample(stage.name, p50_ms["hit"], p50_ms["routed"]))
    _expect(gateway, hit, "exact")
    return samples


def _post(name: str, *, temperature: int) -> Post:
    messages = [
        {"role": "system", "content": "You are a careful assistant."},
        {"role": "user", "content": "x" * 350},
    ]
    body = {"model": INSTANT, "max_tokens": 2, "temperature": temperature, "messages": messages}
    return Post(name, 1, json.dumps(body).encode())


def _expect(gateway: Instance, case: Post, outcome: str) -> None:
    request = urllib.request.Request(gateway.url + PATH, case.content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            found = response.headers.get("x-kvgate-cache")
    except OSError as error:
        raise BenchFailed(f"a request that is to be a {outcome}: {error}") from None
    if found != outcome:
        raise BenchFailed(f"x-kvgate-cache is {found!r} where it is to be {outcome!r}")
