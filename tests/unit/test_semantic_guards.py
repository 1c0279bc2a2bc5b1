"""What may never share an answer, and what is one question in other words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.caching.semantic.canonical import canonical
from extproc.caching.semantic.guards import Likeness, Verdict, compare

WORDS = ["what", "how", "do", "not", "the", "a", "list", "of", "files", "Paris", "10", "from", "red", "us", "US"]
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


def verdict(first: str, second: str) -> Verdict:
    return compare(canonical(first), canonical(second))


def likeness(first: str, second: str) -> Likeness:
    return verdict(first, second).likeness


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is the capital of France?", "Could you please tell me what the capital of France is?"),
        ("What is the capital of France?", "What's France's capital?"),
        ("How do I sort a list in Python?", "In Python, how can I sort a list?"),
        ("How does a heat pump work?", "Please explain how a heat pump works."),
        ("List the planets.", "Can you give me a list of the planets?"),
        ("Who wrote Hamlet?", "Who is the author of Hamlet?"),
        ("How can I repair a flat tire?", "how do i fix a flat tire"),
        ("Give me three names for a cat.", "Give me 3 names for a cat"),
        ("Don't use semicolons.", "Do not use semicolons."),
    ],
)
def test_one_question_in_other_words_is_the_same_question(first: str, second: str) -> None:
    assert likeness(first, second) is Likeness.SAME


@pytest.mark.parametrize(
    ("first", "second", "because"),
    [
        ("What is 10% of 250?", "What is 100% of 250?", "numbers"),
        ("Which foods are good for dogs?", "Which foods are not good for dogs?", "negation"),
        ("What is the weather in Austin?", "What is the weather in Boston?", "names"),
        ("what is the weather in austin", "what is the weather in boston", "content"),
        ("Is Spain larger than Peru?", "Is Peru larger than Spain?", "names"),
        ("How do I enable the firewall?", "How do I disable the firewall?", "opposites"),
        ("Remind me in 10 minutes.", "Remind me in 10 hours.", "units"),
        ("When was it signed?", "Where was it signed?", "question"),
        ("Are all swans white?", "Are some swans white?", "quantifiers"),
        ("List the planets as JSON.", "List the planets as a table.", "format"),
        ("Reverse it in Rust.", "Reverse it in Go.", "languages"),
        ("Who is the president of Chile?", "Who was the president of Chile?", "tense"),
        ("Translate: I want to fix it.", "Translate: I want to repair it.", "payload"),
        ("Wie heißt die Hauptstadt von Peru?", "Wie heißt die Hauptstadt von Chile?", "language"),
        ("What is the boiling point of ethanol?", "What is the boiling point of methanol?", "content"),
    ],
)
def test_questions_that_differ_in_what_matters_differ(first: str, second: str, because: str) -> None:
    assert verdict(first, second) == Verdict(Likeness.DIFFERENT, because)


@given(sentences, st.integers(0, 10**9), st.integers(0, 10**9))
def test_another_number_is_another_question(sentence: str, one: int, other: int) -> None:
    expected = Likeness.SAME if one == other else Likeness.DIFFERENT
    assert likeness(f"What is {sentence} {one} now?", f"What is {sentence} {other} now?") is expected


@given(sentences, sentences)
def test_guards_are_symmetric(first: str, second: str) -> None:
    assert verdict(first, second) == verdict(second, first)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_has_a_form_and_is_the_same_as_itself(first: str, second: str) -> None:
    assert likeness(first, first) is Likeness.SAME
    assert verdict(first, second) == verdict(second, first)


@given(sentences, sentences)
def test_equal_forms_have_equal_texts_for_the_embedder(first: str, second: str) -> None:
    one, other = canonical(first), canonical(second)
    assert (one.identity == other.identity) == (one.text == other.text and one.readable == other.readable)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('Translate "tell me the time" to French', 'Translate "please tell me the time" to French'),
        ("Translate to French I'd like to go", "Translate to French I would like to go"),
        ("How do you say please in German?", "How do you say thanks in German?"),
        ("What does film mean?", "What does movie mean?"),
        ("What does print(x) do?", "What does print(X) do?"),
        ("No thanks", "No"),
        ("What is 5!", "What is 5?"),
        ("How long does 10 MB take?", "How long does 10 Mb take?"),
        ("Is US law common law?", "Is us law common law?"),
        ("How do you make decisions?", "How do I make decisions?"),
        ("Fix this:\nfor i in range(3): pass", "Fix this:\nfor i in range(4): pass"),
        ("Show me\nthe files", "Show me the\nfiles"),
        ("法国的首都是哪里", "德国的首都是哪里"),
        ("Hund beißt Mann", "Mann beißt Hund"),
    ],
)
def test_what_may_be_the_matter_itself_is_left_as_it_stands(first: str, second: str) -> None:
    assert likeness(first, second) is not Likeness.SAME


def test_a_question_is_never_widened_or_narrowed() -> None:
    assert likeness("How do I cook rice?", "How do I cook brown rice?") is Likeness.DIFFERENT
    assert likeness("Find flights to Rome.", "Find cheap flights to Rome.") is Likeness.DIFFERENT


def test_one_word_for_another_is_left_to_experience() -> None:
    assert verdict("How do I mend a puncture?", "How do I patch a puncture?") == Verdict(Likeness.ALIKE, "one word", 1)
