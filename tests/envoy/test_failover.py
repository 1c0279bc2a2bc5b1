"""Replicas and the processor fail, and requests do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.envoy.gateway import Gateway, until

CHAT = "/v1/chat/completions"
STORY = "It was a dark and stormy night in the data centre. " * 30
LOST_STREAM = {"cut in mid-stream", "cut behind its head"}
"""What may become of a stream that had begun: of its head, Envoy may or may not have let the client know."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Gateway]:
    """Answers of 20 tokens take a tenth of a second, so that there are always some under way."""
    async with Gateway(provider={"tokens_per_second": 200}, routing={"cooldown_s": 1}) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(running: Gateway) -> Gateway:
    """One whose replicas all serve, whatever was done to them before."""
    await running.until_whole()
    return running


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "error", "status": 503},
        {"mode": "error", "status": 500},
        {"mode": "error", "status": 429},
        {"mode": "refuse"},
    ],
    ids=lambda fault: str(fault.get("status", fault["mode"])),
)
async def test_a_failing_replica_is_replaced_and_the_one_that_served_is_warm_next_time(
    gateway: Gateway, fault: dict[str, Any]
) -> None:
    story = f"{fault}. {STORY}"
    home = (await gateway.chat(story)).headers["x-kvgate-replica"]
    await gateway.fault(home, **fault, times=1)
    saved = await gateway.chat(story, "more")
    assert saved.status == 200
    stand_in = saved.headers["x-kvgate-replica"]
    assert stand_in != home
    again = await gateway.chat(story, "more", "and more")
    assert json.loads(await again.text())["usage"]["prompt_tokens_details"]["cached_tokens"] > 200


async def test_a_replica_that_fails_again_and_again_is_set_aside(gateway: Gateway) -> None:
    async with gateway.configured(routing={"strategy": "round_robin"}):
        await gateway.fault("r1", mode="error", status=503)
        for turn in range(9):
            assert (await gateway.chat(f"turn {turn}")).status == 200
        await gateway.until_logged("replica r1 failed 3 times in a row; set aside")
        await gateway.fault("r1", mode="ok")


async def test_an_answer_cut_in_the_middle_leaks_no_count(gateway: Gateway) -> None:
    for name in gateway.replicas:  # half a second after the head, which must have reached the client by then
        await gateway.fault(name, mode="reset_midstream", after_tokens=100)
    for _ in gateway.replicas:
        with pytest.raises(aiohttp.ClientPayloadError):
            await gateway.chat("hi", stream=True, max_tokens=200)
    for name in gateway.replicas:
        await gateway.fault(name, mode="ok")
    assert (await gateway.chat("hi", stream=True)).status == 200
    await until(gateway.counts_no_request, lambda: gateway.log[-2000:])


async def test_streams_survive_the_death_of_a_replica_unless_they_had_begun(gateway: Gateway) -> None:
    outcomes = await under_load(gateway, 50, lambda: kill_replica(gateway, "r1"), stream=True)
    assert set(outcomes) <= {"ok"} | LOST_STREAM, outcomes
    assert outcomes["ok"] >= 50
    assert sum(outcomes[lost] for lost in LOST_STREAM) <= 50, "no client loses two"


async def test_blocking_requests_survive_the_death_of_a_replica(gateway: Gateway) -> None:
    assert set(await under_load(gateway, 50, lambda: kill_replica(gateway, "r1"), stream=False)) == {"ok"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("stream", [True, False], ids=["streams", "blocking"])
async def test_no_request_fails_while_the_processor_is_ended_and_comes_back(
    gateway: Gateway, number: signal.Signals, stream: bool
) -> None:
    lives = gateway.log.count("processor listens on")

    async def end_processor() -> None:
        os.kill(gateway.pid("serve"), number)
        await gateway.until_logged("processor listens on", times=lives + 1)

    outcomes = await under_load(gateway, 20, end_processor, stream=stream)
    assert set(outcomes) == {"ok"}
    assert (await gateway.chat(STORY)).headers["x-kvgate-predicted-cached-tokens"]


async def test_without_a_processor_requests_are_served_blind(gateway: Gateway) -> None:
    gateway.kill("serve")
    answer = await gateway.chat("hello")
    assert answer.status == 200
    assert answer.headers["x-kvgate-replica"] in gateway.replicas


async def test_a_replica_that_hangs_is_left_for_another() -> None:
    async with Gateway(replicas=2, server={"request_timeout_s": 1}) as gateway:
        home = (await gateway.chat(STORY)).headers["x-kvgate-replica"]
        await gateway.fault(home, mode="hang", times=1)
        saved = await gateway.chat(STORY, "more")
        assert saved.status == 200
        assert saved.headers["x-kvgate-replica"] != home


async def kill_replica(gateway: Gateway, name: str) -> None:
    killed = f"replica {name} was killed by SIGKILL"
    deaths = gateway.log.count(killed)
    gateway.kill(name)
    await gateway.until_logged(killed, times=deaths + 1)


async def under_load(
    gateway: Gateway, clients: int, fault: Callable[[], Awaitable[None]], *, stream: bool
) -> Counter[str]:
    """What becomes of requests of `clients` concurrent clients before, while and after `fault()` happens."""
    outcomes: Counter[str] = Counter()
    over, struck = asyncio.Event(), asyncio.Event()

    async def client(number: int) -> None:
        turn = 0
        while not over.is_set() or turn < 3:
            late = struck.is_set()
            outcome = await ask(gateway, f"{number}-{turn} ", stream)
            outcomes[f"{outcome}, asked after the fault" if late and outcome != "ok" else outcome] += 1
            turn += 1

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    await until(lambda: sum(outcomes.values()) > clients, lambda: f"load: {outcomes}")
    await fault()
    struck.set()
    before = sum(outcomes.values())
    await until(lambda: sum(outcomes.values()) > before + clients, lambda: f"load: {outcomes}")
    over.set()
    await asyncio.gather(*tasks)
    print(f"{'streaming' if stream else 'blocking'}, {clients} clients: {dict(outcomes)}")
    return outcomes


async def ask(gateway: Gateway, text: str, stream: bool) -> str:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": text * 20}],
        "max_tokens": 20,
        "stream": stream,
    }
    begun = False  # engines send the headers of a stream before its first token: from there on nobody can retry
    try:
        async with gateway.http.post(CHAT, json=body) as response:
            if response.status != 200:
                text = await response.text()
                behind = stream and response.status == 502 and "could not pass on the answer (UPE)" in text
                return "cut behind its head" if behind else f"{response.status} {text}"
            begun = stream
            await response.read()
    except aiohttp.ClientError as error:
        return "cut in mid-stream" if begun else f"{type(error).__name__} before the answer"
    return "ok"
