"""Every query of the dashboard and the rules, asked of a real Prometheus that scraped two real gateways, their Envoys
and their replicas under load. `pytest -rP` prints what each of them said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from tests.envoy.answers import CHAT, chat, fresh
from tests.envoy.gateway import Gateway, until
from tests.envoy.kv_store import client
from tests.envoy.prometheus import SHIPPED, Prometheus, Sample, needs_prometheus
from tests.ports import free_port
from tests.redis_server import RedisServer

pytestmark = needs_prometheus

BOARD = SHIPPED.parent / "grafana" / "dashboards" / "kvgate.json"
STORY = "A replica that has read this story need not read it again. " * 60
TENANTS = ("acme", "poor", "busy")
ALARMS = {"KVGateRedisDown", "KVGateConfigReloadFailed"}


@dataclass
class Load:
    """Requests that give every panel something to show: hits, limits, budgets, errors, a replica that fails.

    Attributes:
        store: the first gateway's KV store, through its listener.
        sent_on: answers that name a replica.
        enough: the round under way is the last.
    """

    gateways: list[Gateway]
    store: Redis | None = None
    sent_on: int = 0
    enough: bool = False
    statuses: dict[int, int] = field(default_factory=dict)
    caches: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Until it is enough. One replica fails now and then."""
        for number in count():
            if self.enough:
                return
            if number % 4 == 0:
                fails = {"mode": "error", "status": 503} if number % 8 == 0 else {"mode": "ok"}
                await self.gateways[0].fault("r0", **fails)
            await asyncio.gather(*(self._round(gateway, number) for gateway in self.gateways), self._keep(number))

    async def _round(self, gateway: Gateway, number: int) -> None:
        story = f"Story {number % 4}. {STORY}"
        too_long = chat(fresh(), max_tokens=1_000_000)  # for the replica
        await asyncio.gather(
            self.ask(gateway, chat(f"{story} {fresh()}", stream=True)),
            self.ask(gateway, chat(f"{story} {fresh()}", stream=True, max_tokens=20)),
            self.ask(gateway, chat("The same again.")),
            self.ask(gateway, chat(f"{story} {fresh()}", temperature=1)),
            self.ask(gateway, chat(fresh()), "poor"),
            self.ask(gateway, chat(fresh()), "busy"),
            self.ask(gateway, {**chat(fresh()), "model": f"invented-{number}"}),
            self.ask(gateway, too_long),
        )

    async def _keep(self, number: int) -> None:
        """What LMCache asks of a store."""
        assert self.store is not None
        for key in (f"kv-{number % 16}", f"kv-{number % 16 + 16}"):
            await self.store.set(key, bytes(10_000))
            assert await self.store.exists(key)
            assert await self.store.get(key)

    async def ask(self, gateway: Gateway, body: Any, tenant: str = "acme") -> None:
        headers = {"authorization": f"Bearer sk-{tenant}"}
        async with gateway.http.post(CHAT, json=body, headers=headers) as response:
            await response.read()
        self.sent_on += bool(response.headers.get("x-kvgate-replica"))
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        cache = response.headers.get("x-kvgate-cache", "")
        self.caches[cache] = self.caches.get(cache, 0) + 1


def gateway(redis: str, replicas: int, **sections: Any) -> Gateway:
    keys: list[dict[str, Any]] = [{"key": f"sk-{name}", "tenant": name} for name in TENANTS]
    keys[1]["budget_usd"], keys[2]["rpm"] = 0.0001, 5
    prices = {"cost_per_1k_input": 0.001, "cost_per_1k_cached_input": 0.0001, "cost_per_1k_output": 0.002}
    return Gateway(
        replicas,
        server={"log_level": "INFO"},
        auth={"enabled": True, "api_keys": keys},
        ratelimit={"enabled": True, "backend": "redis", "redis_url": redis, "default_rpm": 100_000, "burst": 10_000},
        budget={"enabled": True, "backend": "redis", "redis_url": redis, "default_usd": 1000},
        cache={"enabled": True},
        routing={"cooldown_s": 0.5},
        models=[{"name": "m", "deployments": [{"provider": "sims", **prices}]}],
        processor={"ttft_samples_per_s": 1000},
        **sections,
    )


@contextlib.asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Prometheus, Load, RedisServer]]:
    """Two gateways that share a Redis, and what watches them."""
    async with contextlib.AsyncExitStack() as stack:
        redis, *stores = [await stack.enter_async_context(RedisServer()) for _ in range(3)]
        port = free_port()
        kv_store = {"port": port, "servers": [f"127.0.0.1:{each.port}" for each in stores]}
        gateways = [gateway(redis.url, 2, kv_store=kv_store), gateway(redis.url, 1)]
        await asyncio.gather(*(stack.enter_async_context(each) for each in gateways[:1]))
        await stack.enter_async_context(gateways[1])
        targets = {
            "gateways": [f"127.0.0.1:{each.operations_port}" for each in gateways],
            "replicas": [url.removeprefix("http://") for each in gateways for url in each.replicas.values()],
        }
        store = await stack.enter_async_context(client(port))
        yield await stack.enter_async_context(Prometheus(folder, targets)), Load(gateways, store), redis


def queries() -> Iterator[tuple[str, str]]:
    """Panel and query, with Grafana's variables as they are when nothing is chosen."""
    row = ""
    for panel in json.loads(BOARD.read_text())["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "20s")
            yield f"{row} / {panel['title']} / {target['legendFormat']}", re.sub(r"\$\w+", ".*", expression)


def rules() -> Iterator[tuple[str, str]]:
    """Rule and what it asks: of an alert, which asks for nothing while all is well, every series that it looks at."""
    for path in sorted((SHIPPED / "rules").iterdir()):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield rule["record"], rule["expr"]
                    continue
                for metric in re.findall(r"\b(?:kvgate|envoy|up|vllm)[\w:]*(?:\{[^}]*\})?", rule["expr"]):
                    yield f"{rule['alert']}: {metric}", metric


@dataclass(frozen=True)
class Evidence:
    """What Prometheus said while the load ran, and after it.

    Args:
        answers: by query.
        totals: of the expression, after the last request had been counted.
        alarms: raised once Redis was gone and a configuration file spoilt.
    """

    load: Load
    answers: dict[str, list[Sample]]
    rules: list[dict[str, Any]]
    targets: list[dict[str, Any]]
    totals: dict[str, list[float]]
    alarms: set[str]


def told(samples: list[Sample]) -> bool:
    return any(sample.value == sample.value for sample in samples)  # NaN is not


async def observe(folder: Path) -> Evidence:
    wanted = {expression for _, expression in [*queries(), *rules()]}
    answers: dict[str, list[Sample]] = {expression: [] for expression in wanted}
    totals: dict[str, list[float]] = {}
    async with watched(folder) as (prometheus, load, redis):
        # What happens before the first scrape is in no rate and no increase: the series would begin with it.
        await prometheus.until_scraped()
        working = asyncio.create_task(load.run())

        async def answered() -> bool:
            assert not working.done(), working.result()
            for expression in wanted:
                if not told(answers[expression]):
                    answers[expression] = await prometheus.ask(expression)
            return all(map(told, answers.values()))

        with contextlib.suppress(TimeoutError):  # the test says which
            await until(answered, lambda: "", deadline_s=30)
        for expression in wanted:
            answers[expression] = await prometheus.ask(expression) or answers[expression]
        rules_now, targets = await prometheus.rules(), await prometheus.targets()
        load.enough = True
        await working

        async def counted() -> bool:
            for metric in ("kvgate_requests_total", "kvgate_routing_decisions_total"):
                totals[metric] = [each.value for each in await prometheus.ask(f"sum by (instance) ({metric})")]
            return all(sum(each) == load.sent_on for each in totals.values())

        with contextlib.suppress(TimeoutError):
            await until(counted, lambda: "", deadline_s=5)
        alarms = await broken(prometheus, load.gateways[0], redis)
    return Evidence(load, answers, rules_now, targets, totals, alarms)


async def broken(prometheus: Prometheus, gateway: Gateway, redis: RedisServer) -> set[str]:
    """Takes Redis away and spoils a configuration file. Returns the alerts that are about to fire then."""
    redis.kill()
    (gateway.dir / "kvgate.yaml").write_text("models: 1")
    alarms: set[str] = set()

    async def raised() -> bool:
        await Load([gateway]).ask(gateway, chat(fresh()))
        alarms.update(sample.labels["alertname"] for sample in await prometheus.ask("ALERTS"))
        return alarms >= ALARMS

    with contextlib.suppress(TimeoutError):
        await until(raised, lambda: "", deadline_s=8)
    return alarms


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(observe(tmp_path_factory.mktemp("prometheus")))


def shown(evidence: Evidence, named: Iterator[tuple[str, str]]) -> list[str]:
    """Prints what each query said. Returns those that said nothing."""
    silent = []
    for name, expression in named:
        samples = evidence.answers[expression]
        some = ", ".join(f"{sample.value:.4g}" for sample in samples[:4])
        print(f"{name:<95} {len(samples):>3} series: {some}")
        if not told(samples):
            silent.append(name)
    return silent


def test_every_query_of_every_panel_has_an_answer(evidence: Evidence) -> None:
    assert not shown(evidence, queries())


def test_every_rule_has_something_to_go_by(evidence: Evidence) -> None:
    assert not shown(evidence, rules())
    assert not [rule for rule in evidence.rules if rule["health"] != "ok"]


def test_gateways_envoys_and_replicas_are_scraped(evidence: Evidence) -> None:
    assert {target["labels"]["job"] for target in evidence.targets} == {"kvgate", "kvgate-envoy", "vllm"}
    assert not [target for target in evidence.targets if target["health"] != "up"]


def test_the_load_had_hits_limits_budgets_errors_and_failovers(evidence: Evidence) -> None:
    load = evidence.load
    print(f"statuses {load.statuses}, caches {load.caches}")
    assert {200, 400, 402, 404, 429} <= load.statuses.keys()
    assert load.caches["exact"]
    failovers = next(samples for query, samples in evidence.answers.items() if "_failovers_total" in query)
    assert failovers[0].value > 0


def test_gateways_add_up_and_their_series_stay_apart(evidence: Evidence) -> None:
    print(f"answers that name a replica: {evidence.load.sent_on}; counted by instance: {evidence.totals}")
    for each in evidence.totals.values():
        assert len(each) == 2
        assert sum(each) == evidence.load.sent_on


def test_a_redis_that_is_gone_and_a_file_that_is_refused_raise_their_alerts(evidence: Evidence) -> None:
    print(f"alerts: {sorted(evidence.alarms)}")
    assert evidence.alarms >= ALARMS
