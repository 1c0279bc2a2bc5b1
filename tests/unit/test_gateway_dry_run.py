"""Explaining a request decides as the request path would, and leaves no trace."""

from __future__ import annotations

from typing import get_args

import orjson
import pytest

from extproc.api.errors import BadRequest, GatewayError, MethodNotAllowed, ModelNotFound, NoReplica, UnknownPath
from extproc.config.settings import Routing, Strategy
from extproc.gateway.dry_run import DryRun
from tests.unit.test_gateway_exchange import ADDRESSES, CHAT, Bench, directory, set_headers

PATH = "/v1/chat/completions"


def chosen(bench: Bench, endpoint: str) -> str:
    at = {f"{host}:{port}": name for name, (host, port) in ADDRESSES.items()}
    return at[endpoint.split(",")[0]]


@pytest.mark.parametrize("strategy", get_args(Strategy))
async def test_the_next_request_goes_where_the_dry_run_said(strategy: str) -> None:
    bench = Bench(routing=Routing.model_validate({"strategy": strategy}))
    dry_run = DryRun(bench.gateway)
    for turn in range(6):
        body = {**CHAT, "user": str(turn)}
        told = {(await dry_run(PATH, orjson.dumps(body), "")).ranking.best.name for _ in range(3)}
        answer = await bench.post(body)
        assert told == {chosen(bench, set_headers(answer)["x-gateway-destination-endpoint"])}


async def test_a_dry_run_changes_nothing() -> None:
    bench = Bench()
    await DryRun(bench.gateway)(PATH, orjson.dumps(CHAT), "")
    assert bench.fleet.outstanding == 0
    assert len(bench.fleet.index) == 0
    assert [(state.inflight, state.routed, state.turn) for state in bench.fleet.replicas.values()] == [(0, 0, 0)] * 2


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (PATH, b"{", BadRequest),
        (PATH, orjson.dumps({**CHAT, "model": "nope"}), ModelNotFound),
        ("/v1/nothing", b"{}", UnknownPath),
        ("/v1/models", b"{}", MethodNotAllowed),
        ("", b"", UnknownPath),
    ],
)
async def test_what_would_be_refused_is_refused_with_the_same_error(
    path: str, body: bytes, error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        await DryRun(Bench().gateway)(path, body, "")


async def test_with_every_replica_gone_there_is_nothing_to_explain() -> None:
    bench = Bench()
    bench.gateway.catalog.current = directory()
    with pytest.raises(NoReplica):
        await DryRun(bench.gateway)(PATH, orjson.dumps(CHAT), "")
