"""Equal requests at the same time."""

from __future__ import annotations

import asyncio

import pytest

from extproc.caching.flight import Leader, SingleFlight, Wait
from extproc.clock import ManualClock
from tests.unit.caching_replies import CHAT, answer

KEY = b"k"
ANSWER = answer(CHAT, {"id": "a"})


def lead(flights: SingleFlight) -> Leader:
    joined = flights.join(KEY)
    assert isinstance(joined, Leader)
    return joined


def follow(flights: SingleFlight) -> asyncio.Task[object]:
    joined = flights.join(KEY)
    assert isinstance(joined, Wait)
    return asyncio.create_task(joined.outcome(60))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def led(tasks: list[asyncio.Task[object]]) -> list[Leader]:
    return [result for task in tasks if task.done() and isinstance(result := task.result(), Leader)]


async def test_all_who_wait_get_the_answer_of_the_one_who_asked() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    followers = [follow(flights) for _ in range(99)]
    leader.landed(ANSWER)
    assert await asyncio.gather(*followers) == [ANSWER] * 99
    assert len(flights) == 0
    assert isinstance(flights.join(KEY), Leader)


async def test_other_keys_do_not_wait() -> None:
    flights = SingleFlight(ManualClock())
    assert isinstance(flights.join(b"a"), Leader) and isinstance(flights.join(b"b"), Leader)


async def test_when_the_leader_fails_exactly_one_takes_its_place() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    followers = [follow(flights) for _ in range(5)]
    leader.failed()
    await settle()
    (successor,) = led(followers)
    late = follow(flights)
    leader.landed(ANSWER)  # has nothing to say any more
    leader.failed()
    await settle()
    assert len(led(followers)) == 1
    successor.landed(ANSWER)
    results = await asyncio.gather(*followers, late)
    assert results.count(ANSWER) == 5 and len(flights) == 0


async def test_when_nobody_waits_a_failed_flight_is_forgotten() -> None:
    flights = SingleFlight(ManualClock())
    lead(flights).failed()
    assert len(flights) == 0


async def test_when_there_is_nothing_to_share_all_go_at_once() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    followers = [follow(flights) for _ in range(5)]
    leader.scattered()
    assert await asyncio.gather(*followers) == [None] * 5
    assert len(flights) == 0


async def test_after_three_leaders_that_failed_nobody_waits_for_a_fourth() -> None:
    clock = ManualClock()
    flights = SingleFlight(clock)
    leader = lead(flights)
    followers = [follow(flights) for _ in range(9)]
    for _ in range(2):
        clock.advance(1)
        leader.failed()
        await settle()
        (leader,) = led(followers)
        followers = [task for task in followers if not task.done()]
    clock.advance(1)
    leader.failed()
    assert await asyncio.gather(*followers) == [None] * 7
    assert len(flights) == 0


async def test_however_many_leaders_fail_at_once_the_next_one_leads() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    followers = [follow(flights) for _ in range(9)]
    while followers:
        leader.failed()
        await settle()
        (leader,) = led(followers)
        followers = [task for task in followers if not task.done()]


async def test_one_who_waited_too_long_goes_and_holds_up_nobody() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    impatient = flights.join(KEY)
    assert isinstance(impatient, Wait)
    assert await impatient.outcome(0) is None
    patient = follow(flights)
    leader.failed()
    assert isinstance(await patient, Leader)


async def test_one_who_goes_away_is_passed_over() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    gone, there = follow(flights), follow(flights)
    await settle()
    gone.cancel()
    await settle()
    leader.failed()
    assert isinstance(await there, Leader)
    assert gone.cancelled()


async def test_one_who_goes_away_just_as_it_gets_the_lead_passes_it_on() -> None:
    flights = SingleFlight(ManualClock())
    leader = lead(flights)
    gone, there = follow(flights), follow(flights)
    await settle()
    leader.failed()  # the lead is on its way to the first
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    successor = await there
    assert isinstance(successor, Leader)
    successor.landed(ANSWER)
    assert len(flights) == 0


async def test_a_leader_that_was_lost_does_not_hold_up_those_who_come_later() -> None:
    clock = ManualClock()
    flights = SingleFlight(clock, longest_s=30)
    lost = lead(flights)
    early = follow(flights)
    clock.advance(30)
    leader = lead(flights)
    lost.landed(ANSWER)
    assert await early == ANSWER
    assert len(flights) == 1
    leader.landed(ANSWER)
    assert len(flights) == 0
