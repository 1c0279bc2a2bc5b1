"""What a request is billed for."""

from __future__ import annotations

import orjson
import pytest

from extproc.fleet.events import Usage
from extproc.metering.meter import Meter, Prices, meter_of
from extproc.metering.metering import End, Metered, Metering
from extproc.metering.rates import BytesPerToken
from extproc.tenants.ledger import Bill

PRICES = Prices(input=1.0, cached=0.1, output=2.0)
BILL = Bill("t-1", "acme", "k", 500, 1_000_000_000, 86400.0, 86400.0, False)
METER = Meter("m", "p", "acme", True, 1000, PRICES, BILL)
NO_USAGE = Usage(None, None, None)


class Desk:
    """A ledger that only writes down."""

    def __init__(self) -> None:
        self.bills: list[Bill] = []
        self.seen: list[Metered] = []
        self.metering = Metering(self, self.seen.append)  # type: ignore[arg-type]

    def settle(self, bill: Bill) -> None:
        self.bills.append(bill)

    def take(self, usage: Usage, *, status: int = 200, answered: bool = True, answer_bytes: int = 4000) -> Metered:
        self.metering.take(METER, End(status, 1, usage, answered, answer_bytes, 1.0, 0.9))
        return self.seen[-1]


def test_the_engines_count_is_what_is_paid_and_cached_tokens_have_a_price_of_their_own() -> None:
    desk = Desk()
    metered = desk.take(Usage(1000, 100, 600))
    dollars = 0.4 * 1.0 + 0.6 * 0.1 + 0.1 * 2.0
    assert metered.cost_nusd == desk.bills[0].cost_nusd == round(dollars * 1e9)
    assert (desk.bills[0].tokens, metered.estimated) == (1100, False)
    assert (desk.bills[0].ticket, desk.bills[0].cost_reserved_nusd) == ("t-1", 1_000_000_000)


def test_who_hangs_up_before_the_usage_comes_pays_by_the_bytes_that_were_sent() -> None:
    desk = Desk()
    for _ in range(200):
        desk.take(Usage(10, 100, 0), answer_bytes=25_000)
    metered = desk.take(NO_USAGE, answer_bytes=5_000)
    assert metered.estimated
    assert metered.prompt_tokens == 1000
    assert metered.completion_tokens == pytest.approx(20, abs=1)


@pytest.mark.parametrize(("status", "answered"), [(503, True), (429, True), (200, False), (0, False)])
def test_what_no_replica_answered_costs_nothing_and_releases_what_was_reserved(status: int, answered: bool) -> None:
    desk = Desk()
    assert desk.take(NO_USAGE, status=status, answered=answered).cost_nusd == 0
    assert (desk.bills[0].tokens, desk.bills[0].cost_nusd) == (0, 0)


def test_more_cached_than_prompt_tokens_cost_no_less_than_all_cached() -> None:
    assert Desk().take(Usage(100, 0, 10_000)).cost_nusd == PRICES.cost_nusd(100, 100, 0)


def test_an_incredible_count_is_not_believed() -> None:
    assert Desk().take(Usage(2**52, 1, 0)).estimated


def test_a_meter_survives_the_way_through_envoy() -> None:
    assert meter_of(METER.pack()) == METER
    without = METER._replace(bill=None)
    assert meter_of(without.pack()) == without


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[1,2,3]", '{"a":1}'])
def test_a_meter_that_cannot_be_read_is_nobodys(text: str) -> None:
    assert meter_of(text) is None


def test_models_that_are_asked_for_by_the_thousand_do_not_grow_it() -> None:
    rates = BytesPerToken()
    for number in range(5000):
        rates.learn((str(number), True), 1000, 10)
    assert len(rates._learned) <= 512


def test_a_meter_says_which_endpoint_was_asked_and_one_of_an_older_gateway_does_not() -> None:
    asked = METER._replace(endpoint="/v1/messages")
    assert meter_of(asked.pack()) == asked
    older = orjson.dumps(orjson.loads(asked.pack())[:7]).decode()
    assert meter_of(older) == METER
