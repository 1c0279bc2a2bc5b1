"""Which batches are taken, which are asked for again, and when an engine is another one."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from extproc.fleet.feeds.kv_events.sequence import Anew, Ask, Sequence, Step, Take

AFRESH, RESTARTED = Anew(restarted=False), Anew(restarted=True)


def batch(number: int, engine: str = "first") -> tuple[int, bytes]:
    return number, f"{engine} {number}".encode()


@dataclass
class Publisher:
    """An engine: what it has published, of which the ring holds the latest."""

    name: str = "first"
    ring: int = 100
    published: int = 0

    def replay(self, first: int) -> list[tuple[int, bytes]]:
        oldest = max(first, self.published - self.ring)
        return [batch(number, self.name) for number in range(oldest, self.published)]


@dataclass
class Reader:
    """Does as the subscriber does, without a network."""

    sequence: Sequence
    engine: Publisher
    taken: list[bytes] = field(default_factory=list)
    restarts: int = 0

    def catch_up(self) -> None:
        for _ in range(8):
            ask = self.sequence.ask()
            if ask is None:
                return
            for numbered in self.engine.replay(ask.first):
                if not self.do(self.sequence.replayed(*numbered)):
                    break
            else:
                if self.do(self.sequence.replay_ended()):
                    return
        raise AssertionError("it never ends")

    def hear(self, number: int, engine: str = "first") -> None:
        for _ in range(8):
            if self.do(self.sequence.live(*batch(number, engine))):
                return
            self.catch_up()
        raise AssertionError("it never ends")

    def do(self, steps: list[Step]) -> bool:
        for step in steps:
            match step:
                case Take():
                    self.taken.append(step.payload)
                case Anew():
                    self.taken.clear()
                    self.restarts += step.restarted
                case Ask():
                    return False
        return True


def reader(published: int = 0, ring: int = 100) -> Reader:
    return Reader(Sequence(replayable=True), Publisher(ring=ring, published=published))


def all_of(first: int, end: int, engine: str = "first") -> list[bytes]:
    return [batch(number, engine)[1] for number in range(first, end)]


def test_a_feed_that_begins_late_gets_what_it_missed() -> None:
    late = reader(published=5)
    late.catch_up()
    assert late.taken == all_of(0, 5)
    assert late.sequence.whole


def test_a_feed_that_begins_too_late_knows_that_there_is_more() -> None:
    late = reader(published=500)
    late.catch_up()
    assert late.taken == all_of(400, 500)
    assert not late.sequence.whole


def test_an_engine_that_has_said_nothing_yet_is_known_whole() -> None:
    new = reader()
    new.catch_up()
    assert (new.sequence.synced, new.sequence.whole) == (True, True)
    new.hear(0)
    assert new.taken == all_of(0, 1)


def test_a_gap_is_filled_in_order() -> None:
    feed = reader()
    feed.catch_up()
    for number in (0, 1, 5):
        feed.engine.published = number + 1
        feed.hear(number)
    assert feed.taken == all_of(0, 6)
    assert feed.sequence.whole


def test_what_was_replayed_and_comes_again_is_passed_over() -> None:
    feed = reader(published=3)
    feed.catch_up()
    for number in range(4):
        feed.hear(number)
    assert feed.taken == all_of(0, 4)
    assert feed.restarts == 0


def test_a_gap_longer_than_the_ring_begins_anew() -> None:
    feed = reader()
    feed.catch_up()
    feed.engine.published = 1
    feed.hear(0)
    feed.engine.published = 300
    feed.hear(299)
    assert feed.taken == all_of(200, 300)
    assert not feed.sequence.whole
    assert feed.restarts == 0


def test_an_engine_that_counts_from_zero_again_is_another_one() -> None:
    feed = reader(published=9)
    feed.catch_up()
    feed.engine = Publisher("second", published=1)
    feed.hear(0, "second")
    assert (feed.taken, feed.restarts, feed.sequence.whole) == (all_of(0, 1, "second"), 1, True)


def test_a_restart_is_noticed_before_the_new_engine_says_anything() -> None:
    feed = reader(published=9)
    feed.catch_up()
    feed.engine = Publisher("second")
    feed.catch_up()
    assert (feed.taken, feed.restarts, feed.sequence.whole) == ([], 1, True)


def test_a_new_engine_that_has_counted_further_is_not_taken_for_the_old_one() -> None:
    feed = reader(published=9)
    feed.catch_up()
    feed.engine = Publisher("second", published=30)
    feed.hear(29, "second")
    assert (feed.taken, feed.restarts) == (all_of(0, 30, "second"), 1)


def test_a_replay_with_holes_is_asked_for_again() -> None:
    sequence = Sequence(replayable=True)
    assert sequence.ask() == Ask(0)
    assert sequence.replayed(*batch(0)) == [AFRESH, Take(b"first 0")]
    assert sequence.replayed(*batch(4)) == [Ask(0)]
    assert sequence.replayed(*batch(0)) == []
    assert sequence.replayed(*batch(1)) == [Take(b"first 1")]


def test_without_a_replay_socket_a_gap_begins_anew() -> None:
    sequence = Sequence(replayable=False)
    assert sequence.ask() is None
    assert sequence.live(*batch(0)) == [AFRESH, Take(b"first 0")]
    assert sequence.live(*batch(2)) == [AFRESH, Take(b"first 2")]
    assert not sequence.whole
    assert sequence.live(*batch(0, "second")) == [RESTARTED, AFRESH, Take(b"second 0")]


def test_without_a_replay_socket_a_feed_that_hears_the_first_batch_is_whole() -> None:
    sequence = Sequence(replayable=False)
    sequence.live(*batch(0))
    assert sequence.whole


def test_a_replay_socket_that_does_not_answer_is_not_waited_for() -> None:
    sequence = Sequence(replayable=True)
    assert sequence.live(*batch(7)) == [Ask(0)]
    sequence.replay_failed()
    assert sequence.live(*batch(7)) == [AFRESH, Take(b"first 7")]
    assert not sequence.whole


def test_an_emptied_cache_is_known_whole() -> None:
    late = reader(published=500)
    late.catch_up()
    late.sequence.cleared()
    assert late.sequence.whole


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from(["heard", "lost", "lost", "restart", "reconnect"])), max_size=30
    ),
    st.integers(1, 20),
)
def test_whatever_is_lost_what_is_taken_is_an_unbroken_piece_of_one_engines_story(
    story: list[tuple[int, str]], ring: int
) -> None:
    feed, life = reader(ring=ring), 0
    feed.catch_up()
    for count, fate in story:
        engine = feed.engine
        if fate == "restart":
            life += 1
            feed.engine = Publisher(f"life {life}", ring)
            continue
        for _ in range(count):
            engine.published += 1
            if fate == "heard":
                feed.hear(engine.published - 1, engine.name)
        if fate == "reconnect":
            feed.catch_up()
    feed.catch_up()
    engine = feed.engine
    whole = all_of(0, engine.published, engine.name)
    assert feed.taken == whole[len(whole) - len(feed.taken) :]
    assert len(feed.taken) >= min(engine.published, ring)
    assert not feed.sequence.whole or feed.taken == whole
