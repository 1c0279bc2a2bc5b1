"""The listener in front of the remote KV store: Redis servers that keep what engines evict, behind LMCache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from .section import Port, Section, is_loopback


@dataclass(frozen=True, slots=True)
class KvServer:
    """One Redis server. Its name, `host:port` as it was configured, decides which keys it keeps."""

    name: str
    host: str
    port: int

    @classmethod
    def parse(cls, name: str) -> KvServer:
        """`host:port` or `[v6]:port`.

        Raises:
            ValueError: neither form.
        """
        host, colon, port = name.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not colon or not bare or "/" in name or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{name!r} is not host:port")
        if (":" in bare) != host.startswith("["):
            raise ValueError(f"{name!r} is not host:port; an IPv6 address stands in brackets: [fd00::1]:6379")
        return cls(name, bare, int(port))


def _server(name: str) -> str:
    return KvServer.parse(name).name


class KvStoreTls(Section):
    """TLS to those who use the store. Certificates are read again when the files change."""

    cert: Path
    key: Path
    client_ca: Path | None = Field(None, description="demand a client certificate signed by this CA")


class KvStoreUpstreamTls(Section):
    """TLS to the servers. Their certificates must be for the host that `servers` names."""

    ca: Path | None = Field(None, description="PEM bundle that signed theirs; default: the system's")
    cert: Path | None = Field(None, description="shown to the servers; with key")
    key: Path | None = Field(None, description="of cert")

    @model_validator(mode="after")
    def _both_or_neither(self) -> KvStoreUpstreamTls:
        if (self.cert is None) != (self.key is None):
            raise ValueError("give both cert and key, or neither")
        return self


class KvStore(Section):
    """A listener in front of the Redis servers that keep evicted KV for LMCache. Whoever reaches it can read, replace
    and delete the KV of every prompt."""

    host: str = "127.0.0.1"
    port: Port = 6380
    servers: Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], Field(min_length=1)] = Field(
        description="host:port of each Redis; each key is kept by one of them"
    )
    read_commands: bool = Field(
        False,
        description="with one server too, so that clients which never connect again (LMCache) see the store grow",
    )
    op_timeout_s: PositiveFloat = Field(
        5.0, description="how long a server may take for the next answer before what waits for it fails"
    )
    max_connections: PositiveInt = Field(1024, description="open client connections before new ones are closed")
    downstream_auth_password: str | None = Field(
        None, min_length=1, repr=False, description="clients must send it (AUTH) before anything else"
    )
    auth_username: str | None = Field(
        None, min_length=1, description="of the servers' ACL; a user that may get, set, exists and ping is enough"
    )
    auth_password: str | None = Field(None, min_length=1, repr=False, description="sent to the servers (AUTH)")
    trusted_network: bool = Field(
        False,
        description="everybody who can reach host may read and replace all KV; needed off loopback without client_ca",
    )
    tls: KvStoreTls | None = None
    upstream_tls: KvStoreUpstreamTls | None = None

    @property
    def peers(self) -> tuple[KvServer, ...]:
        """The servers, in the order of the file."""
        return tuple(map(KvServer.parse, self.servers))

    @property
    def relays_bytes(self) -> bool:
        """Whether connections are passed on as they are. Else commands are read: to choose the server by key, or for a
        password."""
        if self.read_commands or len(self.servers) > 1:
            return False
        return self.auth_password is None and self.downstream_auth_password is None

    @model_validator(mode="after")
    def _servers_differ(self) -> KvStore:
        addresses = [(each.host, each.port) for each in self.peers]
        for server, address in zip(self.servers, addresses, strict=True):
            if addresses.count(address) > 1:
                raise ValueError(f"servers: {server} is listed twice")
        return self

    @model_validator(mode="after")
    def _a_user_has_a_password(self) -> KvStore:
        if self.auth_username is not None and self.auth_password is None:
            raise ValueError("auth_username needs auth_password")
        return self

    @model_validator(mode="after")
    def _not_open_to_all(self) -> KvStore:
        known = self.tls is not None and self.tls.client_ca is not None
        if not is_loopback(self.host) and not known and not self.trusted_network:
            raise ValueError(
                "others can reach this host, and the KV of all prompts through it: set tls.client_ca, leave it on "
                "127.0.0.1, or say trusted_network: true"
            )
        return self
