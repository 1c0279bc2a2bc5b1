"""The admin API through a real Envoy: what an operator sees and changes while requests run."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
import yaml

from extproc.admin.v1 import admin_pb2, admin_pb2_grpc
from tests.envoy.gateway import Gateway, until
from tests.ports import free_ports

TOKEN = "operators-only-4711"
SECRETS = ("sk-team-key", "hunter2", "sk-upstream", TOKEN)
ADMIN = {"authorization": f"Bearer {TOKEN}"}
CLIENT = {"authorization": "Bearer sk-team-key"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Gateway]:
    """Three replicas, a key, a budget, a cache, and a token for operators."""
    async with Gateway(
        provider={"api_key": "sk-upstream"},
        operations={"token": TOKEN},
        auth={"enabled": True, "api_keys": [{"key": "sk-team-key", "tenant": "team"}]},
        budget={"enabled": True, "default_usd": 5, "redis_url": "redis://gate:hunter2@127.0.0.1:1/0"},
        cache={"enabled": True},
        tenants=[{"name": "team", "cache_scope": "everybody"}],
    ) as running:
        yield running


class Call:
    """Calls of the admin API as JSON, with the token."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] = ADMIN
    ) -> tuple[int, Any]:
        url = self._gateway.operations_url + path
        async with self._gateway.http.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def got(self, path: str) -> Any:
        status, answer = await self("GET", path)
        assert status == 200, answer
        return answer

    async def did(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        status, answer = await self(method, path, body or ({} if method == "POST" else None))
        assert status == 200, answer
        return answer

    async def replica(self, name: str) -> dict[str, Any]:
        (found,) = [each for each in (await self.got("/admin/replicas"))["replicas"] if each["name"] == name]
        return found


async def say(gateway: Gateway, text: str, **fields: Any) -> tuple[int, str, str]:
    """Status, replica and cache of a chat."""
    body = {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": text}], **fields}
    data = io.BytesIO(json.dumps(body).encode())
    async with gateway.http.post("/v1/chat/completions", data=data, headers=CLIENT) as response:
        await response.read()
        headers = response.headers
        return response.status, headers.get("x-kvgate-replica", ""), headers.get("x-kvgate-cache", "")


async def ended(call: Call, decision: float) -> dict[str, Any]:
    """That decision, when the end of its request is known."""
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        found.update(await call.got(f"/admin/decisions/{decision:.0f}"))
        return bool(found["status"])

    await until(has_ended, lambda: found)
    return found


@asynccontextmanager
async def another_replica() -> AsyncIterator[str]:
    """A simulated replica that the configuration does not know; its URL."""
    (port,) = free_ports(1)
    options = ("--name", "late", "--port", str(port), "--model", "m", "--decode-tokens-per-s", "2000")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "sim", *options), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


class Load:
    """Clients that never stop asking; half of them stream."""

    def __init__(self, gateway: Gateway, clients: int = 12) -> None:
        self._gateway = gateway
        self._clients = clients
        self._stop = asyncio.Event()
        self.served: list[tuple[int, str]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._ask(client)) for client in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def more(self, requests: int) -> list[tuple[int, str]]:
        """Status and replica of the requests that end from now on, once there are so many."""
        before = len(self.served)
        await until(lambda: len(self.served) >= before + requests, lambda: self.served[before:])
        return self.served[before:]

    async def _ask(self, client: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            text = f"client {client} has a story to tell. " * 20 + f"turn {turn}"
            status, replica, _ = await say(self._gateway, text, stream=client % 2 == 0, max_tokens=40)
            self.served.append((status, replica))


async def test_status_says_how_the_gateway_is(fleet: Gateway) -> None:
    status = await Call(fleet).got("/admin/status")
    assert (status["ready"], status["envoys"], status["config_error"]) == (True, 1, "")
    assert status["config_path"] == str(fleet.dir / "kvgate.yaml")
    assert status["uptime_s"] > 0 < status["config_loaded_unix_s"]


async def test_a_decision_can_be_looked_at_with_its_receipt_and_its_outcome(fleet: Gateway) -> None:
    call = Call(fleet)
    _, replica, _ = await say(fleet, "a prompt nobody may read " * 50, stream=True)
    newest = (await call.got("/admin/decisions?limit=1"))["decisions"][0]
    decision = await ended(call, newest["id"])
    assert (decision["model"], decision["tenant"], decision["status"]) == ("m", "team", 200)
    assert decision["replica"] == decision["served_by"] == replica
    assert decision["receipt"]["replica"] == replica
    assert {each["name"] for each in decision["receipt"]["replicas"]} == set(fleet.replicas)
    assert (decision["cached_tokens"], decision["cache"]) == (0, "bypass")
    assert decision["ttft_s"] > 0 < decision["duration_s"]
    assert "nobody may read" not in json.dumps(await call.got("/admin/decisions"))
    assert (await call.got(f"/admin/decisions?after_id={newest['id']}"))["decisions"] == []
    assert (await call.replica(replica))["recent_ttft_s"][-1] == round(decision["ttft_s"], 4)


async def test_stats_count_what_was_asked_and_what_the_cache_answered(fleet: Gateway) -> None:
    call = Call(fleet)
    before = await call.got("/admin/stats")
    outcomes = [(await say(fleet, "to be answered twice", temperature=0))[2] for _ in range(2)]
    assert outcomes == ["miss", "exact"]

    async def counted() -> bool:
        stats = await call.got("/admin/stats")
        hits = stats["cache"]["exact"] - before["cache"]["exact"]
        return (stats["requests"] - before["requests"], hits) == (2, 1) and stats["tokens"]["input"] > 0

    await until(counted, lambda: "stats")
    assert (await call.got("/admin/decisions?limit=1"))["decisions"][0]["cache"] == "exact"
    caches = await call.got("/admin/caches")
    assert caches["exact"]["hits"] >= 1 and caches["exact"]["entries"] >= 1
    assert await call.did("/admin/caches/flush", {"scope": "everybody"}) == {"scopes": ["shared:everybody"]}
    assert (await say(fleet, "to be answered twice", temperature=0))[2] == "miss"


async def test_tenants_show_budget_and_spend(fleet: Gateway) -> None:
    call = Call(fleet)
    (team,) = (await call.got("/admin/tenants"))["tenants"]
    assert (team["name"], team["budget_usd"], team["cache_scope"]) == ("team", 5, "shared:everybody")
    assert (await call.did("/admin/tenants/team/reset"))["spent_usd"] == 0
    assert (await call("POST", "/admin/tenants/nobody/reset", {}))[0] == 404


async def test_the_index_is_dumped_as_hashes(fleet: Gateway) -> None:
    call = Call(fleet)
    await say(fleet, "words that stay here " * 60)
    index, dump = await call.got("/admin/index"), await call.got("/admin/index/dump?limit=1")
    assert index["blocks"] > 0 and len(index["replicas"]) >= len(fleet.replicas)
    (run,) = dump["runs"]
    assert len(run["hash"]) == 16 and run["end_block"] > 0
    assert "words" not in json.dumps(dump)


async def test_the_configuration_is_shown_without_its_secrets(fleet: Gateway) -> None:
    shown = (await Call(fleet).got("/admin/config"))["yaml"]
    assert not [secret for secret in SECRETS if secret in shown]
    settings = yaml.safe_load(shown)
    assert settings["budget"]["redis_url"] == "redis://gate:********@127.0.0.1:1/0"
    assert settings["providers"][0]["api_key"] == "********"
    assert settings["server"]["port"] == fleet.port


async def test_a_configuration_can_be_checked_without_using_it(fleet: Gateway) -> None:
    wrong = "server:\n  prot: 1\n"
    answer = await Call(fleet).did("/admin/config/validate", {"yaml": wrong})
    assert answer["valid"] is False
    (problem,) = answer["problems"]
    assert (problem["line"], problem["key"]) == (2, "server.prot") and "port" in problem["text"]
    right = (fleet.dir / "kvgate.yaml").read_text()
    answer = await Call(fleet).did("/admin/config/validate", {"yaml": right})
    assert answer["valid"] is True
    assert [problem["severity"] for problem in answer["problems"]] == ["warning"]  # the key in plain text


async def test_a_drain_under_load_loses_no_request_and_sends_nothing_new(fleet: Gateway) -> None:
    call = Call(fleet)
    async with Load(fleet) as load:
        await load.more(30)
        assert (await call.did("/admin/replicas/r0/drain"))["state"] == "draining"

        async def empty() -> bool:
            return (await call.replica("r0"))["inflight"] == 0

        await until(empty, lambda: "requests are left on r0")
        routed = (await call.replica("r0"))["routed"]
        assert "r0" not in {replica for _, replica in await load.more(60)}
        assert (await call.replica("r0"))["routed"] == routed
        assert (await call.did("/admin/replicas/r0/undrain"))["state"] == "serving"
        await until(lambda: load.served[-1][1] == "r0", lambda: "r0 gets nothing")
    assert {status for status, _ in load.served} == {200}


async def test_an_added_replica_serves_within_two_seconds_and_is_removed_under_load(fleet: Gateway) -> None:
    call = Call(fleet)
    async with another_replica() as url, Load(fleet) as load:
        await load.more(10)
        added = await call.did("/admin/replicas", {"provider": "sims", "url": url, "name": "late/1"})
        assert (added["from"], added["models"]) == ("admin", ["m"])

        async def serves() -> bool:
            return (await say(fleet, f"never heard before: {time.monotonic()} " * 20))[1] == "late/1"

        await until(serves, lambda: "late/1 gets nothing", deadline_s=2)
        assert (await call.replica("late/1"))["state"] == "serving"
        await call.did("/admin/replicas/late%2F1", method="DELETE")
        await load.more(30)
        assert "late/1" not in {replica for _, replica in await load.more(30)}
        names = {each["name"] for each in (await call.got("/admin/replicas"))["replicas"]}
    assert names == set(fleet.replicas)
    assert {status for status, _ in load.served} == {200}


async def test_changes_stay_when_the_file_is_read_again(fleet: Gateway) -> None:
    call = Call(fleet)
    await call.did("/admin/replicas/r1/weight", {"weight": 2.5})
    await call.did("/admin/replicas/r2", method="DELETE")
    reloaded = await call.did("/admin/config/reload")
    assert reloaded["replicas"] == 2
    assert (await call.replica("r1"))["weight"] == 2.5
    assert (await call.replica("r2"))["state"] == "removed"
    assert (await call.got("/admin/config"))["changes"] == ["r2 was removed", "r1 has weight 2.5"]
    await call.did("/admin/replicas", {"provider": "sims", "url": fleet.replicas["r2"], "name": "r2"})

    async def back() -> bool:
        return (await call.replica("r2"))["state"] == "serving"

    await until(back, lambda: "r2 is not back")
    await call.did("/admin/replicas/r1/weight", {"weight": 1})


async def test_a_bad_file_changes_nothing_and_says_why(fleet: Gateway) -> None:
    call, file = Call(fleet), fleet.dir / "kvgate.yaml"
    good = file.read_text()
    before = (await call.got("/admin/config"))["yaml"]
    file.write_text(good + "\nservre: {}\n")
    status, answer = await call("POST", "/admin/config/reload", {})
    assert status == 400
    assert 'did you mean "server"?' in answer["message"]
    assert "servre" in (await call.got("/admin/status"))["config_error"]
    assert (await call.got("/admin/config"))["yaml"] == before
    file.write_text(good)
    await call.did("/admin/config/reload")
    assert (await call.got("/admin/status"))["config_error"] == ""


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/admin/replicas", {"provider": "sims", "url": "nope"}, 400, "must be a URL"),
        ("POST", "/admin/replicas", {"provider": "sims", "url": "http://u:p@10.0.0.1"}, 400, "credentials"),
        ("POST", "/admin/replicas", {"provider": "smis", "url": "http://10.0.0.1"}, 404, "sims"),
        ("POST", "/admin/replicas", {"provider": "sims", "url": "http://10.0.0.1", "name": "r0"}, 409, "r0"),
        ("POST", "/admin/replicas", {"provider": "sims", "url": 5}, 400, "url"),
        ("POST", "/admin/replicas", {"prvider": "sims"}, 400, "no 'prvider' here; the body takes: provider, "),
        ("POST", "/admin/replicas", {"url": "http://10.0.0.1"}, 400, "provider is required"),
        ("POST", "/admin/replicas", ["sims"], 400, "must be a JSON object"),
        ("POST", "/admin/replicas", {"provider": "x" * 20_000}, 413, "too large"),
        ("POST", "/admin/replicas/r0/drain", {"nmae": "r0"}, 400, "no 'nmae' here"),
        ("POST", "/admin/replicas/r9/drain", {}, 404, "r9"),
        ("POST", "/admin/replicas/r0/weight", {"weight": -1}, 400, "above 0"),
        ("DELETE", "/admin/replicas/r9", None, 404, "r9"),
        ("GET", "/admin/decisions?limit=1001", None, 400, "1000"),
        ("GET", "/admin/decisions?limit=many", None, 400, "as it was sent"),
        ("GET", "/admin/decisions/999999", None, 404, "999999"),
        ("GET", "/admin/index/dump?limit=-1", None, 400, "10000"),
        ("GET", "/admin/replicas/watch?interval_s=0.01", None, 400, "interval_s"),
        ("POST", "/admin/caches/flush", {"scope": "nobody"}, 404, "nobody"),
        ("POST", "/admin/caches/flush", {"scpoe": "team"}, 400, "no 'scpoe' here; the body takes: scope."),
        ("GET", "/admin/nothing", None, 404, "nothing at this path"),
        ("PUT", "/admin/replicas", {}, 404, "nothing at this path"),
        ("GET", "/dashboard/nothing.js", None, 404, "nothing at this path"),
    ],
)
async def test_a_call_that_cannot_be_meant_says_why_and_changes_nothing(
    fleet: Gateway, method: str, path: str, body: Any, status: int, says: str
) -> None:
    call = Call(fleet)
    before = (await call.got("/admin/config"))["yaml"]
    got, answer = await call(method, path, body)
    assert got == status, answer
    assert says in answer["message"]
    assert (await call.got("/admin/config"))["yaml"] == before


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}])
async def test_without_the_token_nothing_is_told_and_nothing_changed(fleet: Gateway, headers: dict[str, str]) -> None:
    call = Call(fleet)
    for method, path in (("GET", "/admin/config"), ("POST", "/admin/replicas/r0/drain"), ("GET", "/metrics")):
        status, answer = await call(method, path, {} if method == "POST" else None, headers=headers)
        assert status == 401
        assert "operations.token" in (answer if isinstance(answer, str) else answer["message"])
    assert (await call.replica("r0"))["state"] == "serving"


async def test_another_sites_page_in_an_operators_browser_changes_nothing(fleet: Gateway) -> None:
    call = Call(fleet)
    status, _ = await call("POST", "/admin/replicas/r0/drain", {}, headers={**ADMIN, "sec-fetch-site": "cross-site"})
    assert status == 403
    assert (await call.replica("r0"))["state"] == "serving"
    assert (await call("GET", "/admin/status", headers={**ADMIN, "sec-fetch-site": "same-origin"}))[0] == 200


async def test_grpc_itself_wants_the_token_and_can_be_reflected(fleet: Gateway) -> None:
    async with grpc.aio.insecure_channel(f"unix:{fleet.dir}/run/processor.sock") as channel:
        stub = admin_pb2_grpc.AdminStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetStatus(admin_pb2.GetStatusRequest())
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = tuple(ADMIN.items())
        assert (await stub.GetStatus(admin_pb2.GetStatusRequest(), metadata=metadata)).ready


async def test_browsers_get_their_pages_without_a_token(fleet: Gateway) -> None:
    call = Call(fleet)
    for path, says in (("/docs", "KVGate admin API"), ("/dashboard", "<html")):
        status, page = await call("GET", path, headers={})
        assert status == 200 and says in page
        assert not re.search(r'(src|href)="(https?:)?//', page)  # nothing from elsewhere
    status, document = await call("GET", "/openapi.json", headers={})
    assert status == 200 and "/admin/replicas/{name}/drain" in document["paths"]


async def test_replicas_can_be_watched_line_by_line(fleet: Gateway) -> None:
    url = f"{fleet.operations_url}/admin/replicas/watch?interval_s=0.1"
    async with fleet.http.get(url, headers=ADMIN) as response:
        assert response.content_type == "application/json"
        lines = [json.loads(await response.content.readline()) for _ in range(3)]
    assert all({each["name"] for each in line["replicas"]} == set(fleet.replicas) for line in lines)
