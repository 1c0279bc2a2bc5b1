"""Reading the metrics pages of a fleet: real HTTP, time that moves only when everybody sleeps."""

from __future__ import annotations

import asyncio
import gzip
import logging
from itertools import pairwise

import pytest

from extproc.fleet.events import CapacityReported, LoadReported
from extproc.fleet.feeds.engine_metrics import Interval
from tests.ports import free_port
from tests.unit.metrics_pages import WAITS_S, Answer, Engine, headers_then_nothing, page, raw, reading, vllm
from tests.unit.sim.wire import launch


async def test_a_simulated_replica_is_understood() -> None:
    async with await launch() as sim, reading({"a": f"{sim.url}/metrics"}) as feed:
        await feed.readings(1)
        asked_s = feed.loads[0].at_s
        assert feed.events == [
            CapacityReported(asked_s, "a", kv_tokens=4 * 65_536, block_size=4),
            LoadReported(asked_s, "a", running=0, waiting=0, kv_usage=0.0),
        ]
        assert feed.faults == []


async def test_a_load_is_as_old_as_the_question() -> None:
    async with Engine(vllm(1, 2, 0.5)) as engine, reading({"a": engine.url}) as feed:
        quick, asked_s = engine.answer, 0.0

        async def slow(writer: asyncio.StreamWriter) -> None:
            nonlocal asked_s
            asked_s = feed.time.now()
            feed.time.advance(1.0)
            await quick(writer)

        engine.answer = slow
        await feed.readings(1)
        assert feed.loads == [LoadReported(asked_s, "a", 1, 2, 0.5)]
        assert feed.time.now() >= asked_s + 1.0


async def test_capacity_is_told_when_it_changes_and_when_it_vanishes() -> None:
    async with Engine(vllm(kv_tokens=6400)) as engine, reading({"a": engine.url}) as feed:
        await feed.readings(3)
        engine.answer = vllm(kv_tokens=3200)
        await feed.readings(3)
        engine.answer = vllm(kv_tokens=None)
        await feed.readings(3)
        assert feed.capacities == [6400, 3200, None]


async def test_an_engine_that_gives_no_capacity_is_not_said_to_have_lost_it() -> None:
    async with (
        Engine(page("tgi_batch_current_size 4\ntgi_queue_size 7\n")) as engine,
        reading({"a": engine.url}) as feed,
    ):
        await feed.readings(2)
        assert feed.capacities == []
        assert (feed.loads[0].running, feed.loads[0].waiting, feed.loads[0].kv_usage) == (4, 7, 0.0)


async def test_a_replica_that_dies_and_comes_back_is_read_again_capacity_and_all() -> None:
    async with Engine(vllm()) as engine, reading({"a": engine.url}) as feed:
        await feed.readings(1)
        await engine.__aexit__()
        await feed.fault(8)
        assert set(feed.faults) == {("a", "unreachable")}
        asked_s = feed.time.now()
        async with Engine(vllm(running=3), engine.port):
            await feed.readings(1)
        assert feed.time.now() - asked_s < 34.0
        assert feed.loads[-1].running == 3
        assert feed.capacities == [6400, 6400]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (page("gone", "503 Service Unavailable"), "status"),
        (page("", "302 Found", Location="http://127.0.0.1:1/"), "status"),
        (page(b"x" * 10_000_000), "too large"),
        (page(gzip.compress(b"vllm:num_requests_running 1\n" * 100_000), Content_Encoding="gzip"), "malformed"),
        (raw(b"what?\r\n\r\n"), "malformed"),
        (page("vllm:num_requests_running NaN\nvllm:num_requests_waiting {\n"), "malformed"),
        (page("vllm:num_requests_running 3\n"), "malformed"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nvllm:num"), "unreachable"),
        (raw(b""), "unreachable"),
        (page("", "404 Not Found"), "no metrics"),
        (page(""), "no metrics"),
        (page("llamacpp:requests_processing 1\n"), "no metrics"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_page_that_cannot_be_read_is_counted_and_the_next_good_one_is_read(answer: Answer, kind: str) -> None:
    async with Engine(answer) as engine, reading({"a": engine.url}) as feed:
        await feed.fault()
        assert feed.faults == [("a", kind)]
        assert feed.events == []
        engine.answer = vllm(running=2)
        await feed.readings(1)
        assert feed.loads[-1].running == 2
        assert feed.capacities == [6400]


async def test_a_slow_page_is_given_up_and_delays_no_other() -> None:
    async with Engine(headers_then_nothing) as slow, Engine(vllm()) as engine:
        async with reading({"slow": slow.url, "a": engine.url}, answer_within_s=WAITS_S) as feed:
            await feed.time.until(lambda: bool(slow.heads), sleepers=3)
            await feed.readings(5, sleepers=2)
            assert len(slow.heads) == 1
            assert feed.faults == []
        async with reading({"slow": slow.url}, answer_within_s=0.05) as feed:
            await feed.fault(2)
            assert feed.faults == [("slow", "timeout")] * 2


async def test_what_is_left_of_a_page_with_an_impossible_figure_is_used() -> None:
    async with Engine(vllm(kv_usage=0.5)) as engine, reading({"a": engine.url}) as feed:
        await feed.readings(1)
        engine.answer = vllm(running=7, kv_usage=37.5)
        await feed.readings(2)
        assert feed.faults == [("a", "malformed")] * 2
        assert (feed.loads[-1].running, feed.loads[-1].kv_usage) == (7, 0.5), "what it last said of its cache stands"


async def test_a_replica_without_metrics_is_asked_once_a_minute_and_counted_once() -> None:
    async with Engine(page("", "404 Not Found")) as engine, reading({"a": engine.url}) as feed:
        await feed.time.until(lambda: feed.time.now() > 600.0)
        assert feed.faults == [("a", "no metrics")]
        assert 9 <= len(engine.heads) <= 12


async def test_capacity_is_unknown_once_another_engine_is_at_the_address() -> None:
    async with Engine(vllm()) as engine, reading({"a": engine.url}) as feed:
        await feed.readings(1)
        engine.answer = page("llamacpp:requests_processing 1\n")
        await feed.fault()
        assert feed.capacities == [6400, None]


async def test_a_fault_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    async with Engine(page("", "500 Oops")) as engine, reading({"a": engine.url}) as feed:
        with caplog.at_level(logging.INFO, "extproc.fleet.feeds.engine_metrics"):
            await feed.fault(4)
            engine.answer = vllm()
            await feed.readings(3)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_replica_is_read_over_one_connection_without_compression() -> None:
    async with Engine(vllm()) as one, Engine(vllm()) as two, reading({"one": one.url, "two": two.url}) as feed:
        feed.busy |= {"one", "two"}
        await feed.readings(40, sleepers=3)
        assert (one.connections, two.connections) == (1, 1)
        assert len(one.heads) > 10 < len(two.heads)
        assert b"accept-encoding: identity" in one.heads[0].lower()


async def test_a_busy_replica_is_read_twice_a_second_and_an_idle_one_ever_less() -> None:
    async with Engine(vllm()) as engine, reading({"a": engine.url}) as feed:
        await feed.readings(12)
        pauses_s = [after.at_s - before.at_s for before, after in pairwise(feed.loads)]
        assert pauses_s[0] < pauses_s[2] < pauses_s[4] < pauses_s[6]
        assert all(4.5 <= pause_s <= 5.5 for pause_s in pauses_s[7:])
        feed.busy.add("a")
        became_busy_s, before = feed.time.now(), len(feed.loads)
        await feed.readings(10)
        assert feed.loads[before].at_s - became_busy_s <= 0.55, "an idle one that becomes busy is not slept through"
        assert all(0.45 <= after.at_s - first.at_s <= 0.56 for first, after in pairwise(feed.loads[before:]))


async def test_a_replica_that_does_not_answer_is_asked_ever_less() -> None:
    async with reading({"a": f"http://127.0.0.1:{free_port()}/metrics"}) as feed:
        feed.busy.add("a")
        asked_s = []
        for _ in range(10):
            await feed.fault()
            asked_s.append(feed.time.now())
        pauses_s = [after - before for before, after in pairwise(asked_s)]
        assert pauses_s[0] < pauses_s[1] < pauses_s[2] < pauses_s[3]
        assert all(27.0 <= pause_s <= 33.0 for pause_s in pauses_s[6:])


@pytest.mark.parametrize("url", ["http://", "metrics", "http://[::1/metrics"])
async def test_an_address_that_cannot_be_is_unreachable(url: str) -> None:
    async with reading({"a": url}) as feed:
        await feed.fault()
        assert feed.faults == [("a", "unreachable")]


async def test_a_replica_removed_while_it_is_read_says_nothing_any_more() -> None:
    async with Engine(vllm()) as engine, reading({"a": engine.url}) as feed:
        quick = engine.answer

        async def removed_meanwhile(writer: asyncio.StreamWriter) -> None:
            feed.targets = {}
            await quick(writer)

        engine.answer = removed_meanwhile
        await feed.time.until(lambda: not feed.targets)
        await feed.time.all_asleep(1)
        assert feed.events == []
        assert feed.faults == []


async def test_a_replica_renamed_is_read_under_its_new_name_only() -> None:
    async with Engine(vllm()) as engine, reading({"old": engine.url}) as feed:
        await feed.readings(2)
        feed.targets = {"new": engine.url}
        before = len(feed.events)
        await feed.readings(2)
        assert {event.replica for event in feed.events[before:] if isinstance(event, LoadReported)} == {"new"}
        assert feed.capacities == [6400, 6400], "another replica, for all that the fleet knows"


async def test_a_replica_without_a_page_is_left_alone() -> None:
    async with reading({"a": None}) as feed:
        await feed.time.until(lambda: feed.time.now() > 60.0, sleepers=1)
        assert feed.events == feed.faults == []


async def test_a_mistake_of_ours_is_told_and_does_not_end_the_feed(caplog: pytest.LogCaptureFixture) -> None:
    async with Engine(vllm()) as engine, reading({"a": engine.url}) as feed:
        feed.refuse = KeyError("no applier")
        await feed.time.until(lambda: bool(engine.heads))
        await feed.time.all_asleep(1)
        feed.refuse = None
        await feed.time.until(lambda: bool(caplog.records), sleepers=1)
        await feed.readings(1)
        assert "no applier" in caplog.text


def test_replicas_that_came_up_together_are_not_read_in_step() -> None:
    firsts = sorted(Interval(f"replica-{number}").first_s() for number in range(200))
    assert all(after - before < 0.05 for before, after in pairwise(firsts)), "spread over the interval"
    assert Interval("a").first_s() == Interval("a").first_s(), "the same every time"
