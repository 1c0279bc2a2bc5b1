"""A replica can be told to fail in each of the ways that real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from extproc.fleet.feeds.metrics_page import read
from extproc.sim import RunningSim
from extproc.sim.faults import Faults
from tests.unit.sim.wire import SLOW, chat, eventually, launch, post, state

PATH = "/v1/chat/completions"


@pytest.fixture
def deaths() -> list[int]:
    """Exit statuses of processes that would be dead by now."""
    return []


@pytest.fixture
async def mortal(deaths: list[int]) -> AsyncIterator[RunningSim]:
    async with await launch(faults=Faults(exit_process=deaths.append)) as running:
        yield running


async def fault(http: aiohttp.ClientSession, sim: RunningSim, **fields: Any) -> dict[str, Any]:
    status, answer = await post(http, sim, "/sim/faults", fields)
    assert status == 200
    return answer


async def healthy(http: aiohttp.ClientSession, sim: RunningSim) -> int:
    async with http.get(sim.url + "/health") as reply:
        return reply.status


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_error_answers_with_its_status_until_told_otherwise(
    http: aiohttp.ClientSession, sim: RunningSim, status: int
) -> None:
    await fault(http, sim, mode="error", status=status)
    for _ in range(3):
        answered, body = await post(http, sim, PATH, chat())
        assert (answered, body["error"]["code"]) == (status, status)
    await fault(http, sim, mode="ok")
    assert (await post(http, sim, PATH, chat()))[0] == 200
    assert (await state(http, sim))["outcomes"] == {"fault": 3, "served": 1}


async def test_a_fault_can_be_for_the_next_requests_only(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await fault(http, sim, mode="error", times=2)
    assert [(await post(http, sim, PATH, chat()))[0] for _ in range(3)] == [503, 503, 200]
    async with http.get(sim.url + "/sim/faults") as reply:
        assert (await reply.json())["mode"] == "ok"


async def test_hang_never_answers_but_health_and_state_do(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await fault(http, sim, mode="hang", times=1)
    hung = asyncio.create_task(post(http, sim, PATH, chat()))
    await eventually(lambda: sim.replica.journal.by_endpoint[PATH] == 1)
    assert await healthy(http, sim) == 200
    assert (await post(http, sim, PATH, chat()))[0] == 200
    assert not hung.done()
    assert (await state(http, sim))["requests"][0]["outcome"] == "open"
    hung.cancel()
    await eventually(lambda: sim.replica.journal.by_outcome["fault"] == 1)


async def test_refuse_closes_without_an_answer(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await fault(http, sim, mode="refuse", times=2)
    for body in (chat(), chat(stream=True)):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(http, sim, PATH, body)
    assert (await post(http, sim, PATH, chat()))[0] == 200


@pytest.mark.parametrize("engine", [None, SLOW], ids=["instant", "timed"])
async def test_reset_midstream_delivers_the_tokens_before_it(http: aiohttp.ClientSession, engine: Any) -> None:
    async with await launch(*filter(None, [engine])) as sim:
        await fault(http, sim, mode="reset_midstream", after_tokens=3, times=1)
        received = b""
        async with http.post(sim.url + PATH, json=chat(max_tokens=8, stream=True)) as reply:
            assert reply.status == 200
            with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
                while chunk := await reply.content.readany():
                    received += chunk
        chunks = [orjson.loads(block[6:]) for block in received.split(b"\n\n") if block]
        assert sum("content" in chunk["choices"][0]["delta"] for chunk in chunks) == 1 + 3
        await eventually(lambda: not sim.replica.engine.busy)
        assert (await post(http, sim, PATH, chat()))[0] == 200


async def test_reset_of_a_blocking_request_comes_before_any_answer(
    http: aiohttp.ClientSession, sim: RunningSim
) -> None:
    await fault(http, sim, mode="reset_midstream", times=1)
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionResetError)):
        await post(http, sim, PATH, chat())


async def test_slow_takes_longer_by_its_factor(http: aiohttp.ClientSession, slow_sim: RunningSim) -> None:
    loop = asyncio.get_running_loop()
    taken_s = []
    for factor in (1.0, 5.0):
        await fault(http, slow_sim, mode="slow", factor=factor, times=1)
        started = loop.time()
        assert (await post(http, slow_sim, PATH, chat(max_tokens=6)))[0] == 200
        taken_s.append(loop.time() - started)
    assert taken_s[1] > 5 * 5 * 0.005 > taken_s[0]


async def test_unhealthy_fails_health_checks_and_goes_on_serving(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await fault(http, sim, mode="unhealthy")
    assert await healthy(http, sim) == 503
    assert (await post(http, sim, PATH, chat()))[0] == 200
    await fault(http, sim, mode="ok")
    assert await healthy(http, sim) == 200


async def test_metrics_can_be_garbled_or_huge_while_inference_goes_on(
    http: aiohttp.ClientSession, sim: RunningSim
) -> None:
    pages = {}
    for mode in ("ok", "metrics_garbled", "metrics_huge"):
        await fault(http, sim, mode=mode)
        async with http.get(sim.url + "/metrics") as reply:
            pages[mode] = await reply.text()
        assert (await post(http, sim, PATH, chat()))[0] == 200
    assert "vllm:num_requests_running" in pages["metrics_garbled"]
    assert read(pages["metrics_garbled"]).unreadable
    assert not read(pages["ok"]).unreadable
    assert len(pages["metrics_huge"]) == 10_000_000


async def test_metrics_can_begin_and_never_end(http: aiohttp.ClientSession, sim: RunningSim) -> None:
    await fault(http, sim, mode="metrics_hang")
    async with http.get(sim.url + "/metrics") as reply:
        assert (await reply.content.readany()).startswith(b"# HELP")
        assert (await post(http, sim, PATH, chat()))[0] == 200
        assert not reply.content.at_eof()


async def test_die_ends_the_process_as_a_kill_does(
    http: aiohttp.ClientSession, mortal: RunningSim, deaths: list[int]
) -> None:
    await fault(http, mortal, mode="die")
    assert deaths == [137]


async def test_die_can_wait_for_the_middle_of_a_reply(
    http: aiohttp.ClientSession, mortal: RunningSim, deaths: list[int]
) -> None:
    await fault(http, mortal, mode="die", after_tokens=2, times=1)
    assert deaths == []
    with pytest.raises(aiohttp.ClientError):
        async with http.post(mortal.url + PATH, json=chat(stream=True)) as reply:
            await reply.read()
    assert deaths == [137]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        {"mode": "tired"},
        {"mode": "error", "status": 200},
        {"mode": "slow", "factor": 0},
        {"mode": "hang", "times": 0},
        {"mode": "reset_midstream", "after_tokens": -1},
        {"mode": "ok", "colour": "red"},
    ],
)
async def test_a_fault_that_does_not_exist_is_a_400(http: aiohttp.ClientSession, sim: RunningSim, bad: Any) -> None:
    assert (await post(http, sim, "/sim/faults", bad))[0] == 400
    assert (await post(http, sim, PATH, chat()))[0] == 200
