"""However many names clients invent, the page to scrape stays as long as the configuration makes it. `pytest -rP`
prints how long that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from extproc.fleet.events import Usage
from extproc.metering.metering import End, Metered
from extproc.telemetry.instruments import MOST_MODELS, MOST_SERIES, OTHER
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.traffic import PolicyPage
from tests.unit.say import fleet_of
from tests.unit.test_gateway_exchange import CHAT, Bench
from tests.unit.test_gateway_policies import KEYS, ONE, priced, status
from tests.unit.test_telemetry_metrics import OUTCOME

INVENTED = 10_000
END = End(200, 1, Usage(10, 2, 5), True, 100, 0.1, 0.1)
METERED = Metered("m", "p", "acme", False, END, 10, 5, 2, 1000, False, "/v1/chat/completions")


def series(metrics: Metrics) -> Counter[str]:
    """How many samples each name has."""
    lines = metrics.exposition().decode().splitlines()
    return Counter(line.partition(" ")[0].partition("{")[0] for line in lines if not line.startswith("#"))


def shown(what: str, metrics: Metrics) -> Counter[str]:
    found = series(metrics)
    page_bytes = len(metrics.exposition())
    print(f"{what}: {found.total():,} samples, {page_bytes / 1e6:.2f} MB; most: {found.most_common(3)}")
    return found


@pytest.mark.timeout(60)
async def test_clients_that_invent_models_keys_and_tenants_add_no_series() -> None:
    metrics = Metrics(lambda: 64)
    bench = Bench(priced(), auth=KEYS)
    bench.gateway.observer = metrics
    assert await status(bench, ONE) == 200
    assert await status(bench, {}) == 401
    assert await status(bench, ONE, {**CHAT, "model": "invented"}) == 404
    before = shown("before", metrics)
    for number in range(INVENTED):
        invented = {"authorization": f"Bearer sk-{number}", "x-kvgate-tenant": f"tenant-{number}"}
        assert await status(bench, invented) == 401
        assert await status(bench, {**ONE, **invented, **ONE}, {**CHAT, "model": f"model-{number}"}) == 404
    after = shown(f"after {INVENTED:,} invented models, keys and tenants", metrics)
    assert after == before
    assert f'kvgate_refused_total{{code="model_not_found"}} {INVENTED + 1}' in metrics.exposition().decode()


def test_tenants_of_a_jwt_are_bounded_and_the_rest_is_counted_together() -> None:
    metrics = Metrics(lambda: 64)
    spent = {f"tenant-{number}": number for number in range(INVENTED)}
    metrics.watch(PolicyPage(lambda: spent, dict))
    for tenant in spent:
        metrics.refused("rate_limited", 429, tenant)
        metrics.refused("over_budget", 402, tenant)
    found = shown(f"after {INVENTED:,} tenants of a JWT, each refused by limit and budget", metrics)
    for name in ("kvgate_rate_limited_total", "kvgate_budget_rejected_total", "kvgate_budget_spent_usd"):
        assert found[name] <= MOST_SERIES + 1
    rest = INVENTED - MOST_SERIES
    assert f'kvgate_rate_limited_total{{tenant="{OTHER}"}} {rest}' in metrics.exposition().decode()


def test_even_configured_names_are_bounded() -> None:
    """A configuration that is reloaded with other models and replicas every minute, for a week."""
    metrics = Metrics(lambda: 64)
    fleet = fleet_of("a")
    metrics.watch_fleet(fleet, lambda: 0.0)
    for number in range(INVENTED):
        name = f"model-{number}"
        metrics.observe(replace(OUTCOME, model=name, replica=f"replica-{number}"))
        metrics.metered(replace(METERED, model=name, end=replace(END, status=200 + number % 400)))
        metrics.decided(name, name, name)
        metrics.saved("exact", name, 5, 5)
        metrics.first_token("/v1/chat/completions", name, name, 0.1)
    found = shown(f"after {INVENTED:,} models and replicas that came and went", metrics)
    assert "kvgate_replica_requests_total" not in found
    most_buckets = 18
    assert max(found.values()) <= 2 * most_buckets * (MOST_MODELS + 2)
    total = sum(
        float(line.split()[-1])
        for line in metrics.exposition().decode().splitlines()
        if line.startswith("kvgate_requests_total{")
    )
    assert total == INVENTED
