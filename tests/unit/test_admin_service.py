"""The admin API over real gRPC, on a socket of its own, with parts that do nothing; and its compiled definition."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from extproc.admin.errors import Away, Invalid, NotFound, NotNow, Refused, Taken, TooMany
from extproc.admin.guard import Access
from extproc.admin.parts import Explanation, Parts
from extproc.admin.service import SERVICE, Admin
from extproc.admin.v1 import admin_pb2, admin_pb2_grpc
from extproc.api.errors import BadRequest, ModelNotFound, NoReplica
from extproc.operations.envoy_metrics import EnvoyMetrics
from tests.ports import free_port

PROTO = Path(__file__).parents[2] / "proto"
RECEIPT = {"replica": "a", "replicas": [{"name": "a", "cost": 0.5}]}
TOKEN = "operators-only"


async def explained(path: str, body: bytes, session: str) -> Explanation:
    return Explanation(f"{path} {session}", "a", len(body), 3, RECEIPT)


def refused(error: Exception) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise error

    return refuse


async def envoy_metrics() -> bytes:
    return b"envoy_server_live 1\n"


def parts(**given: Any) -> Parts:
    """Parts of a gateway with one replica; what is not given is not there."""
    nothing = cast(Any, SimpleNamespace())
    replicas = SimpleNamespace(list=lambda: admin_pb2.Replicas(replicas=[admin_pb2.Replica(name="a")]))
    fakes = Parts(
        explain=explained,
        metrics=lambda: b"up 1\n",
        envoy_metrics=envoy_metrics,
        overview=cast(Any, SimpleNamespace(status=lambda: admin_pb2.Status(version="0"))),
        replicas=cast(Any, replicas),
        decisions=nothing,
        tenants=nothing,
        caches=nothing,
        configuration=nothing,
        index=nothing,
        asset=lambda path: ("text/html", b"<html>") if path == "" else None,
    )
    return replace(fakes, **given)


@asynccontextmanager
async def admin(
    folder: Path,
    explain: Callable[[str, bytes, str], Awaitable[Explanation]] = explained,
    access: Access | None = None,
    **given: Any,
) -> AsyncIterator[admin_pb2_grpc.AdminStub]:
    server = grpc.aio.server()
    service = Admin(parts(explain=explain, **given), access)
    service.add_to(server)
    address = f"unix:{folder}/admin.sock"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield admin_pb2_grpc.AdminStub(channel)
    service.close()
    await server.stop(None)


async def test_explain_passes_on_path_body_and_session(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        request = admin_pb2.ExplainRequest(path="/p", request=HttpBody(data=b"1234"), session="s")
        response = await stub.Explain(request)
    assert (response.model, response.replica, response.prompt_tokens, response.prompt_blocks) == ("/p s", "a", 4, 3)
    assert response.receipt["replicas"][0]["cost"] == 0.5


async def test_a_request_without_a_path_is_a_chat(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        assert (await stub.Explain(admin_pb2.ExplainRequest())).model.startswith("/v1/chat/completions")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BadRequest("No.", param="messages"), grpc.StatusCode.INVALID_ARGUMENT, "No. (messages)"),
        (ModelNotFound("x"), grpc.StatusCode.NOT_FOUND, "'x' does not exist"),
        (NoReplica("None is."), grpc.StatusCode.UNAVAILABLE, "None is."),
        (ZeroDivisionError("a secret"), grpc.StatusCode.INTERNAL, "A fault in the processor"),
    ],
)
async def test_an_error_has_its_status_and_says_what_the_gateway_says(
    tmp_path: Path, error: Exception, code: grpc.StatusCode, says: str
) -> None:
    async def refuse(path: str, body: bytes, session: str) -> Explanation:
        raise error

    async with admin(tmp_path, refuse) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Explain(admin_pb2.ExplainRequest())
    assert caught.value.code() == code
    assert says in (caught.value.details() or "")
    assert "secret" not in (caught.value.details() or "")


async def test_metrics_are_a_page_that_prometheus_reads(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        page = await stub.Metrics(admin_pb2.MetricsRequest())
    assert page.data == b"up 1\n"
    assert page.content_type.startswith("text/plain; version=0.0.4")


async def test_so_is_what_envoy_counts(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        page = await stub.EnvoyMetrics(admin_pb2.MetricsRequest())
    assert page.data == b"envoy_server_live 1\n"
    assert page.content_type.startswith("text/plain; version=0.0.4")


async def test_an_envoy_that_cannot_be_asked_is_said_to_be_away(tmp_path: Path) -> None:
    nobody = EnvoyMetrics("0.0.0.0", free_port())
    async with admin(tmp_path, envoy_metrics=nobody) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.EnvoyMetrics(admin_pb2.MetricsRequest())
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("so"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound("so"), grpc.StatusCode.NOT_FOUND),
        (Taken("so"), grpc.StatusCode.ALREADY_EXISTS),
        (NotNow("so"), grpc.StatusCode.FAILED_PRECONDITION),
        (TooMany("so"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Away("so"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_whoever_refuses_a_call_chooses_its_status(tmp_path: Path, error: Refused, code: grpc.StatusCode) -> None:
    replicas = SimpleNamespace(add=refused(error))
    async with admin(tmp_path, replicas=replicas) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.AddReplica(admin_pb2.AddReplicaRequest())
    assert (caught.value.code(), caught.value.details()) == (code, "so")


@pytest.mark.parametrize("sent", [(), (("authorization", "Bearer x"),), (("authorization", TOKEN),)])
async def test_with_a_token_every_call_needs_it_but_pages_do_not(
    tmp_path: Path, sent: tuple[tuple[str, str], ...]
) -> None:
    async with admin(tmp_path, access=Access(TOKEN)) as stub:
        for call in (
            stub.GetStatus(admin_pb2.GetStatusRequest(), metadata=sent),
            stub.Metrics(admin_pb2.MetricsRequest(), metadata=sent),
            stub.EnvoyMetrics(admin_pb2.MetricsRequest(), metadata=sent),
            stub.Explain(admin_pb2.ExplainRequest(), metadata=sent),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.WatchReplicas(admin_pb2.WatchReplicasRequest(), metadata=sent):
                pass
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert (await stub.GetDashboard(admin_pb2.GetDashboardRequest(), metadata=sent)).data == b"<html>"
        right = (("authorization", f"bearer {TOKEN}"),)
        assert (await stub.GetStatus(admin_pb2.GetStatusRequest(), metadata=right)).version == "0"


async def test_metrics_can_be_left_open(tmp_path: Path) -> None:
    async with admin(tmp_path, access=Access(TOKEN, metrics_open=True)) as stub:
        assert (await stub.Metrics(admin_pb2.MetricsRequest())).data == b"up 1\n"


async def test_a_processor_that_others_can_reach_answers_no_calls_without_a_token(tmp_path: Path) -> None:
    async with admin(tmp_path, access=Access(exposed=True)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetStatus(admin_pb2.GetStatusRequest())
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert "operations.token" in (caught.value.details() or "")


async def test_a_watcher_is_told_again_and_again_until_it_hangs_up(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        call = stub.WatchReplicas(admin_pb2.WatchReplicasRequest(interval_s=0.1))
        told = [await call.read() for _ in range(3)]
        call.cancel()
    assert [[each.name for each in replicas.replicas] for replicas in told] == [["a"]] * 3


async def test_so_many_may_watch_and_no_more(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        calls = [stub.WatchReplicas(admin_pb2.WatchReplicasRequest(interval_s=60)) for _ in range(64)]
        await asyncio.gather(*(call.read() for call in calls))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.WatchReplicas(admin_pb2.WatchReplicasRequest()).read()
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_document_and_its_page_are_served(tmp_path: Path) -> None:
    async with admin(tmp_path) as stub:
        document = await stub.GetOpenApi(admin_pb2.GetOpenApiRequest())
        page = await stub.GetDocs(admin_pb2.GetDocsRequest())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDashboard(admin_pb2.GetDashboardRequest(file="nothing.js"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "/admin/replicas/{name}/drain" in json.loads(document.data)["paths"]
    assert page.content_type.startswith("text/html") and b"prefers-color-scheme: dark" in page.data


def test_the_document_says_what_every_call_is_for() -> None:
    document = json.loads((Path(admin_pb2.__file__).parent / "openapi.json").read_text())
    operations = [operation for verbs in document["paths"].values() for operation in verbs.values()]
    names = {operation["operationId"].rstrip("2") for operation in operations}
    assert names == {method.name for method in admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods}
    assert all(operation["summary"] for operation in operations)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["$ref"]] if "$ref" in value else [each for part in value.values() for each in references(part)]
    return [each for part in value for each in references(part)] if isinstance(value, list) else []


def test_what_is_checked_in_is_what_the_proto_says(tmp_path: Path) -> None:
    """`make proto` brings them together again."""
    compiled = tmp_path / "admin.binpb"
    proto_compiler().compile_admin(f"--descriptor_set_out={compiled}")
    (said,) = FileDescriptorSet.FromString(compiled.read_bytes()).file
    checked_in = FileDescriptorProto()
    admin_pb2.DESCRIPTOR.CopyToProto(checked_in)
    assert without_json_names(checked_in) == without_json_names(said)
    assert SERVICE == "kvgate.admin.v1.Admin"
    assert (Path(admin_pb2.__file__).parent / "openapi.json").read_text() == proto_compiler().document()


def proto_compiler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("proto_compile", PROTO / "compile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    def strip(message: DescriptorProto) -> None:
        for field in message.field:
            field.ClearField("json_name")
        for nested in message.nested_type:
            strip(nested)

    for message in file.message_type:
        strip(message)
    return file
