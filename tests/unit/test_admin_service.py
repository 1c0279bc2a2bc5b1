"""The admin API over real gRPC, on a socket of its own, and its compiled definition."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from extproc.admin.service import SERVICE, Admin, Explanation
from extproc.admin.v1 import admin_pb2, admin_pb2_grpc
from extproc.api.errors import BadRequest, ModelNotFound, NoReplica

PROTO = Path(__file__).parents[2] / "proto"
RECEIPT = {"replica": "a", "replicas": [{"name": "a", "cost": 0.5}]}


async def explained(path: str, body: bytes, session: str) -> Explanation:
    return Explanation(f"{path} {session}", "a", len(body), 3, RECEIPT)


@asynccontextmanager
async def admin(
    folder: Path,
    explain: Callable[[str, bytes, str], Awaitable[Explanation]] = explained,
    metrics: Callable[[], bytes] = lambda: b"up 1\n",
) -> AsyncIterator[admin_pb2_grpc.AdminStub]:
    server = grpc.aio.server()
    Admin(explain, metrics).add_to(server)
    address = f"unix:{folder}/admin.sock"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield admin_pb2_grpc.AdminStub(channel)
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


def test_what_is_checked_in_is_what_the_proto_says(tmp_path: Path) -> None:
    """`make proto` brings them together again."""
    compiled = tmp_path / "admin.binpb"
    proto_compiler().compile_admin(f"--descriptor_set_out={compiled}")
    (said,) = FileDescriptorSet.FromString(compiled.read_bytes()).file
    checked_in = FileDescriptorProto()
    admin_pb2.DESCRIPTOR.CopyToProto(checked_in)
    assert without_json_names(checked_in) == without_json_names(said)
    assert SERVICE == "kvgate.admin.v1.Admin"


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
