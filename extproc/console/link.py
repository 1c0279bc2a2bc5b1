"""How a command finds a running gateway, and speaks to its admin API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic import ValidationError

from extproc.admin.v1 import admin_pb2_grpc
from extproc.config.document import read
from extproc.config.errors import ConfigError
from extproc.config.load import load
from extproc.config.settings import Operations, Processor, Server, Settings
from extproc.control.bootstrap import ProcessorTarget

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 30.0

Answer = TypeVar("Answer", bound=Message, covariant=True)


class Unreachable(RuntimeError):
    """No gateway answers."""

    exit_status = 3


class Refusal(RuntimeError):
    """The gateway says no, and why."""


class _Call(Protocol[Answer]):
    def __call__(self, request: Any, *, timeout: float, metadata: tuple[tuple[str, str], ...]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a gateway's processor listens.

    Args:
        address: `unix:/path` or `host:port`, as `Settings.processor_address` has it.
        token: of its admin API; None: it wants none.
    """

    address: str
    token: str | None = None

    @classmethod
    def of(cls, config: Path, *, port: int | None = None, address: str | None = None) -> Whereabouts:
        """Of the gateway that runs with this file.

        A file that is not valid at the moment still says where its gateway is: it runs with what the file said before.

        Args:
            port: the `--port` that it was started with, if any.
            address: where it listens, whatever the file says; then the file may be missing.

        Raises:
            ConfigError: the file does not say.
        """
        token = os.environ.get("KVGATE_OPERATIONS_TOKEN") or None
        if address is not None and not config.exists():
            return cls(address, token)
        settings = _settings(config)
        if port is not None:
            server = settings.server.model_copy(update={"port": port})
            settings = settings.model_copy(update={"server": server})
        return cls(address or settings.processor_address, settings.operations.token or token)


def _settings(config: Path) -> Settings:
    try:
        return load(config, os.environ).settings
    except ConfigError as error:
        try:
            values = read(config.read_text("utf-8"), os.environ).values
            return Settings(
                server=Server.model_validate(values.get("server", {})),
                processor=Processor.model_validate(values.get("processor", {})),
                operations=Operations.model_validate(values.get("operations", {})),
            )
        except (ConfigError, ValidationError, OSError, UnicodeDecodeError):
            raise error from None


class Link:
    """An open line to the admin API."""

    def __init__(self, channel: grpc.Channel, where: Whereabouts) -> None:
        self._stub = admin_pb2_grpc.AdminStub(channel)
        self._metadata = (("authorization", f"Bearer {where.token}"),) if where.token else ()

    def ask(
        self,
        method: Callable[[admin_pb2_grpc.AdminStub], _Call[Answer]],
        request: Message,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Answer:
        """One call.

        Raises:
            Refusal: the gateway says no.
            Unreachable: it does not answer.
        """
        try:
            return method(self._stub)(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) and _is_ours(details):
                raise Unreachable(f"the gateway does not answer ({details})") from None
            raise Refusal(f"{code.name.lower().replace('_', ' ')}: {details}") from None


def _is_ours(details: str) -> bool:
    """Whether gRPC says so, and not the gateway, whose sentences end like sentences."""
    return not details.endswith((".", ")")) or "failed to connect" in details


@contextmanager
def open_link(where: Whereabouts) -> Iterator[Link]:
    """A line to a gateway, which is there.

    Raises:
        Unreachable: nobody listens there.
        ValueError: the address is none.
    """
    target = ProcessorTarget.parse(where.address)
    silence = f"no gateway answers at {target}; is it running, with this configuration?"
    if target.socket is not None and not Path(target.socket).exists():
        raise Unreachable(silence)
    with grpc.insecure_channel(str(target)) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_TIMEOUT_S)
        except grpc.FutureTimeoutError:
            raise Unreachable(silence) from None
        yield Link(channel, where)


def as_data(message: Message) -> dict[str, Any]:
    """A message as JSON has it, fields that are zero included."""
    found = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _in_order(cast(Descriptor, message.DESCRIPTOR), _whole(found))


def _in_order(descriptor: Descriptor, found: dict[str, Any]) -> dict[str, Any]:
    """The same with its fields as the API lists them."""
    ordered = {}
    for field in descriptor.fields:
        value, inner = found.get(field.name), field.message_type
        if inner is not None and not inner.GetOptions().map_entry and inner.file is descriptor.file:
            if isinstance(value, list):
                value = [_in_order(inner, each) for each in value]
            elif value is not None:
                value = _in_order(inner, value)
        if value is not None:
            ordered[field.name] = value
    return ordered


def _whole(value: Any) -> Any:
    """The same with whole numbers as such: protobuf knows them as floats."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
