"""What a request reserved, carried through Envoy and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.tenants.keys import Caller
from extproc.tenants.ledger import Ask, Bill, Verdict
from extproc.tenants.rules import Rules

BUDGET = Rules(budget_usd=1)
amounts = st.integers(0, 10**15)
bills = st.builds(
    Bill,
    ticket=st.text(),
    tenant=st.text(),
    key=st.text(),
    tokens_reserved=amounts,
    cost_reserved_nusd=amounts,
    key_window_s=st.floats(1, 1e9),
    tenant_window_s=st.floats(1, 1e9),
    shared=st.booleans(),
    tokens=amounts,
    cost_nusd=amounts,
)


@given(bills)
def test_a_bill_survives_metadata_to_the_last_nano_dollar(bill: Bill) -> None:
    assert Bill.from_metadata(bill.to_metadata()) == bill


@given(bills)
def test_metadata_holds_nothing_that_a_log_would_round(bill: Bill) -> None:
    assert all(isinstance(value, str) for value in bill.to_metadata().values())


@pytest.mark.parametrize(
    "wrong", [{"tenant": None}, {"tokens_reserved": "many"}, {"key_window_s": "0"}, {"tenant_window_s": "nan"}]
)
def test_what_is_not_a_bill_is_told_apart(wrong: dict[str, str | None]) -> None:
    metadata = {**Ask(Caller("k", "t"), 1, 1, "x").bill(Verdict()).to_metadata(), **wrong}
    with pytest.raises(ValueError):
        Bill.from_metadata({name: value for name, value in metadata.items() if value is not None})


def test_nothing_is_reserved_where_nobody_has_a_budget() -> None:
    assert Ask(Caller("k", "t"), 1, 500, "x").reserves_nusd == 0
    assert Ask(Caller("k", "t", tenant_rules=BUDGET), 1, 500, "x").reserves_nusd == 500
    assert Ask(Caller("k", "t", key_rules=BUDGET), 1, 500, "x").reserves_nusd == 500
    assert Ask(Caller("", "t", key_rules=BUDGET), 1, 500, "x").reserves_nusd == 0


def test_usage_below_zero_counts_as_none() -> None:
    bill = Ask(Caller("k", "t"), 1, 1, "x").bill(Verdict()).used(tokens=-5, cost_nusd=-5)
    assert (bill.tokens, bill.cost_nusd) == (0, 0)
