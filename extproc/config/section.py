"""What the models of the configuration are made of."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._/:@-]+$")]
HeaderName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$"), AfterValidator(str.lower)]


def _zmq_url(url: str) -> str:
    if url.startswith("tcp://") and int(url.rpartition(":")[2]) > 65535:
        raise ValueError("the port is beyond 65535")
    return url


ZmqUrl = Annotated[
    str,
    Field(max_length=512, pattern=r"^(tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[1-9][0-9]{0,4}|ipc://\S+)$"),
    AfterValidator(_zmq_url),
]


class Section(BaseModel):
    """A part of the configuration: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name other than `localhost` may stand for anything."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
