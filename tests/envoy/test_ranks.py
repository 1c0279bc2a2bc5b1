"""Data-parallel ranks of one replica: routed to one by one, each with a cache of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy.gateway import Gateway, until

STORY = "It was a dark and stormy night in the data centre. " * 30

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Gateway]:
    async with Gateway(replicas=2, provider={"data_parallel_size": 2}) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(running: Gateway) -> Gateway:
    await running.until_whole()
    return running


async def ranks_seen(gateway: Gateway, replica: str) -> list[str | None]:
    """The rank that each request to a replica named, the latest last."""
    state = await gateway.sim_state(replica)
    return [each["headers"].get("x-data-parallel-rank") for each in state["requests"]]


async def cached_tokens(answer: Any) -> int:
    return int(json.loads(await answer.text())["usage"]["prompt_tokens_details"]["cached_tokens"])


async def listed(gateway: Gateway) -> dict[str, dict[str, Any]]:
    async with gateway.http.get(f"{gateway.operations_url}/admin/replicas") as response:
        return {each["name"]: each for each in (await response.json())["replicas"]}


async def test_two_ranks_of_one_replica_keep_a_conversation_each(gateway: Gateway) -> None:
    homes: dict[int, str] = {}
    for number in range(8):
        homes[number] = (await gateway.chat(f"{number}. {STORY}")).headers["x-kvgate-replica"]
    seen = set(homes.values())
    assert seen <= {"r0~0", "r0~1", "r1~0", "r1~1"}
    assert {"r0~0", "r0~1"} <= seen or {"r1~0", "r1~1"} <= seen, "cold prompts spread over ranks as over replicas"
    for number, home in homes.items():
        again = await gateway.chat(f"{number}. {STORY}", "and then?")
        assert again.headers["x-kvgate-replica"] == home
        assert await cached_tokens(again) > 200
        assert int(again.headers["x-kvgate-predicted-cached-tokens"]) > 200


async def test_a_retry_goes_to_the_same_rank_of_another_replica(gateway: Gateway) -> None:
    home = (await gateway.chat(f"retry {STORY}")).headers["x-kvgate-replica"]
    replica, _, rank = home.partition("~")
    other = "r1" if replica == "r0" else "r0"
    await gateway.fault(replica, mode="error", status=503, times=1)
    saved = await gateway.chat(f"retry {STORY}", "more")
    assert saved.status == 200
    assert saved.headers["x-kvgate-replica"] == f"{other}~{rank}"
    assert (await ranks_seen(gateway, other))[-1] == rank

    async def home_is_there() -> bool:
        answer = await gateway.chat(f"retry {STORY}", "more", "and more")
        return answer.headers["x-kvgate-replica"] in (home, f"{other}~{rank}") and await cached_tokens(answer) > 200

    assert await home_is_there(), "the rank that served is known to be warm"


async def test_a_client_cannot_choose_the_rank(gateway: Gateway) -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "me first"}]}
    async with gateway.http.post("/v1/chat/completions", json=body, headers={"X-data-parallel-rank": "7"}) as answer:
        assert answer.status == 200
        replica, _, rank = answer.headers["x-kvgate-replica"].partition("~")
    assert (await ranks_seen(gateway, replica))[-1] == rank


async def test_an_operator_sees_each_rank_and_drains_the_replica(gateway: Gateway) -> None:
    before = await listed(gateway)
    assert before.keys() == {"r0~0", "r0~1", "r1~0", "r1~1"}
    assert {each["address"] for each in before.values()} == {
        url.removeprefix("http://") for url in gateway.replicas.values()
    }
    async with gateway.http.post(f"{gateway.operations_url}/admin/replicas/r0~1/drain", json={}) as response:
        assert response.status == 200, await response.text()
    assert {name for name, each in (await listed(gateway)).items() if each["state"] == "draining"} == {"r0~0", "r0~1"}
    for turn in range(4):
        assert (await gateway.chat(f"while it drains {turn}")).headers["x-kvgate-replica"].startswith("r1~")
    async with gateway.http.post(f"{gateway.operations_url}/admin/replicas/r0/undrain", json={}) as response:
        assert response.status == 200, await response.text()
    assert {each["state"] for each in (await listed(gateway)).values()} <= {"serving", "in_doubt"}


async def test_each_rank_has_the_capacity_and_the_counts_of_its_own(gateway: Gateway) -> None:
    async def told() -> bool:
        return {each.get("capacity_tokens") for each in (await listed(gateway)).values()} == {200_000 // 16 * 16}

    await until(told, lambda: "the capacity of each rank")
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        page = await response.text()
    for name in ("r0~0", "r0~1", "r1~0", "r1~1"):
        assert f'kvgate_replica_requests_total{{replica="{name}"}}' in page
    assert 'replica="r0"' not in page


async def test_a_replica_with_a_cluster_of_its_own_has_ranks_as_well(gateway: Gateway) -> None:
    (provider,) = gateway.config["providers"]
    alone = [{**each, "cluster": f"alone-{each['name']}"} for each in provider["replicas"]]
    async with gateway.configured(providers=[{**provider, "replicas": alone}]):
        await until(lambda: known_to_envoy(gateway, alone), lambda: "clusters of their own")
        for turn in range(4):
            home = (await gateway.chat(f"alone {turn} {STORY}")).headers["x-kvgate-replica"]
            again = await gateway.chat(f"alone {turn} {STORY}", "and then?")
            assert again.headers["x-kvgate-replica"] == home
            assert await cached_tokens(again) > 200
            replica, _, rank = home.partition("~")
            assert (await ranks_seen(gateway, replica))[-2:] == [rank, rank]


async def test_an_error_names_the_rank_that_was_asked_last_or_nobody(gateway: Gateway) -> None:
    for name in gateway.replicas:
        await gateway.fault(name, mode="refuse")
    answer = await gateway.chat("anybody?")
    assert answer.status == 503
    assert answer.headers.get("x-kvgate-replica", "") in {"", "r0~0", "r0~1", "r1~0", "r1~1"}
    for name in gateway.replicas:
        await gateway.fault(name, mode="ok")


async def known_to_envoy(gateway: Gateway, replicas: list[dict[str, str]]) -> bool:
    """Whether Envoy has warmed the clusters of these replicas."""
    async with gateway.http.get(f"http://127.0.0.1:{gateway.admin_port}/clusters") as response:
        page = await response.text()
    addresses = {each["cluster"]: each["url"].removeprefix("http://") for each in replicas}
    return all(f"{name}::{address}::health_flags::healthy" in page for name, address in addresses.items())
