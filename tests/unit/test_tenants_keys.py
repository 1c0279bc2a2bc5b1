"""API keys."""

from __future__ import annotations

import pytest

from extproc.tenants.keys import Caller, Key, KeyRing, digest, public_id
from extproc.tenants.rules import Rules

SECRET = "sk-a-very-secret-key"


def key(plain: str, tenant: str = "acme") -> Key:
    return Key(digest(plain), Caller(public_id(digest(plain)), tenant))


def test_a_key_finds_whose_it_is() -> None:
    ring = KeyRing([key("sk-one", "acme"), key("sk-two", "globex")])
    found = ring.find("sk-two")
    assert found is not None
    assert found.tenant == "globex"


@pytest.mark.parametrize("presented", ["", "sk-on", "sk-one ", "SK-ONE", "sk-onf", "sk-öne", "\udcff", "x" * 100_000])
def test_what_is_not_a_key_finds_nobody(presented: str) -> None:
    assert KeyRing([key("sk-one")]).find(presented) is None
    assert KeyRing([]).find(presented) is None


def test_a_short_key_is_a_key() -> None:
    assert KeyRing([key("x")]).find("x") is not None


def test_a_key_that_is_there_twice_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="twice") as error:
        KeyRing([key(SECRET, "acme"), key(SECRET, "globex")])
    assert SECRET not in str(error.value)
    assert digest(SECRET).hex() not in str(error.value)


def test_no_key_and_no_digest_is_in_any_repr() -> None:
    one = key(SECRET)
    shown = repr(one) + repr(KeyRing([one])) + repr(KeyRing([one]).find(SECRET))
    assert SECRET not in shown
    assert repr(one.sha256) not in shown
    assert one.sha256.hex() not in shown


def test_a_digest_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        Key(b"short", Caller("a", "acme"))


def test_models_that_are_not_listed_may_not_be_asked_for() -> None:
    assert Caller("a", "acme").may_ask("anything")
    assert Caller("a", "acme", frozenset({"m"})).may_ask("m")
    assert not Caller("a", "acme", frozenset({"m"})).may_ask("n")


@pytest.mark.parametrize(
    "wrong", [{"rpm": 0}, {"tpm": -1}, {"burst": 0}, {"window_s": 0}, {"budget_usd": -1}, {"rpm": float("nan")}]
)
def test_a_limit_that_nothing_could_pass_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rules(**wrong)  # type: ignore[arg-type]
