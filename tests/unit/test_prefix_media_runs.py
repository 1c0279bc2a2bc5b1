"""What is learned of images' runs, and what follows for images never seen."""

from __future__ import annotations

from array import array

from extproc.prefix.media_runs import MediaRuns

SIZE = (640, 480)


def run(tokens: int, token: int = 7) -> array[int]:
    return array("I", [token] * tokens)


def learned(runs: MediaRuns, identifier: str, tokens: int, size: tuple[int, int] = SIZE, model: str = "m") -> None:
    runs.saw(identifier, size, model)
    runs.learn(identifier, tokens, run(tokens))


def test_an_image_that_was_stored_anywhere_is_known() -> None:
    runs = MediaRuns()
    runs.learn("cat", 3, run(3))
    assert runs.length("cat", (0, 0), "m") == run(3)


def test_an_unseen_image_takes_the_run_of_others_of_its_size_and_model() -> None:
    runs = MediaRuns()
    learned(runs, "cat", 3)
    assert runs.length("dog", SIZE, "m") == run(3)
    assert runs.length("dog", (480, 640), "m") is None
    assert runs.length("dog", SIZE, "other") is None


def test_the_report_may_come_before_the_request_is_seen() -> None:
    runs = MediaRuns()
    runs.learn("cat", 3, run(3))
    runs.saw("cat", SIZE, "m")
    assert runs.length("dog", SIZE, "m") == run(3)


def test_a_size_that_gave_two_runs_answers_for_neither() -> None:
    runs = MediaRuns()
    learned(runs, "cat", 3)
    learned(runs, "dog", 4)
    assert runs.length("cow", SIZE, "m") is None
    assert runs.length("cat", SIZE, "m") == run(3)


def test_a_size_is_believed_again_when_several_in_a_row_agree() -> None:
    runs = MediaRuns()
    learned(runs, "old", 3)
    for index in range(5):
        assert index == 0 or runs.length("cow", SIZE, "m") is None
        learned(runs, f"new {index}", 4)
    assert runs.length("cow", SIZE, "m") == run(4)


def test_what_the_engine_says_last_of_an_image_is_believed() -> None:
    runs = MediaRuns()
    learned(runs, "cat", 3)
    runs.learn("cat", 5, run(5))
    assert runs.length("cat", SIZE, "m") == run(5)


def test_an_unknown_size_teaches_nothing() -> None:
    runs = MediaRuns()
    learned(runs, "cat", 3, size=(0, 0))
    assert runs.length("dog", (0, 0), "m") is None


def test_a_report_that_contradicts_itself_is_not_learned() -> None:
    runs = MediaRuns(max_run_tokens=10)
    runs.learn("cat", 4, run(3))
    runs.learn("dog", 0, run(0))
    runs.learn("cow", 11, run(11))
    assert len(runs) == 0


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    runs = MediaRuns(max_images=2, max_sizes=1)
    learned(runs, "a", 1, size=(1, 1))
    learned(runs, "b", 2, size=(2, 2))
    assert runs.length("a", (0, 0), "m") == run(1)
    learned(runs, "c", 3, size=(3, 3))
    assert len(runs) == 2
    assert runs.length("b", (2, 2), "m") is None
    assert runs.length("a", (0, 0), "m") == run(1)
    assert runs.length("z", (3, 3), "m") == run(3)


def test_equal_runs_are_held_once() -> None:
    runs = MediaRuns()
    runs.learn("a", 3, run(3))
    runs.learn("b", 3, run(3))
    assert runs.length("a", SIZE, "m") is runs.length("b", SIZE, "m")
