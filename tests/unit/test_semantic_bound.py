"""How much experience an answer needs before it is given."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from extproc.caching.semantic.bound import FEWEST_OBSERVATIONS, Bound, Observation, correct_at_least, explore_chance

observed = st.lists(st.builds(Observation, st.floats(0, 1), st.booleans()), max_size=60)


def seen(same: int, other: int = 0, similarity: float = 0.97) -> list[Observation]:
    return [Observation(similarity, True)] * same + [Observation(similarity, False)] * other


def test_without_experience_every_question_goes_upstream() -> None:
    assert explore_chance([], 1.0, 0.5) == 1.0
    assert explore_chance(seen(FEWEST_OBSERVATIONS - 1), 0.97, 0.5) == 1.0


def test_more_agreement_means_fewer_questions_upstream() -> None:
    chances = [explore_chance(seen(count), 0.97, 0.01) for count in (8, 32, 128, 256)]
    assert chances == sorted(chances, reverse=True) and chances[-1] < 0.3


def test_one_disagreement_is_remembered() -> None:
    assert correct_at_least(seen(100, 3), 0.97) < correct_at_least(seen(103), 0.97) - 0.02


def test_what_was_learned_of_close_questions_does_not_hold_for_farther_ones() -> None:
    learned = seen(50, similarity=0.99) + seen(0, 50, similarity=0.96)
    assert correct_at_least(learned, 0.99) > 0.85
    assert correct_at_least(learned, 0.955) < 0.1


@given(observed, st.floats(0, 1), st.floats(0.001, 0.5))
def test_a_chance_is_a_probability(observations: list[Observation], similarity: float, rate: float) -> None:
    assert 0.0 <= explore_chance(observations, similarity, rate) <= 1.0


def test_the_share_of_wrong_answers_stays_within_the_bound() -> None:
    world, wrong, asked = random.Random(3), 0, 0
    for entry in range(30):
        bound, learned = Bound(0.05, random.Random(entry)), []
        right = world.choice((0.0, 0.5, 0.9, 1.0))
        for _ in range(200):
            same = world.random() < right
            asked += 1
            if bound.allows(learned, 0.97):
                wrong += not same
            else:
                learned.append(Observation(0.97, same))
    assert 0 < wrong <= 0.05 * asked


def test_the_same_seed_decides_the_same() -> None:
    decisions = [[Bound(0.05, random.Random(1)).allows(seen(60), 0.97) for _ in range(1)] for _ in range(2)]
    assert decisions[0] == decisions[1]
