"""The section `kv_store`: what it takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from extproc.config.kv_store import KvServer, KvStore
from extproc.config.masked import MASK, as_yaml
from extproc.config.settings import Settings

TLS = {"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key"}


def store(*servers: str, **settings: Any) -> KvStore:
    return KvStore.model_validate({"servers": servers or ("redis-0:6379",), **settings})


def test_a_server_is_a_host_and_a_port() -> None:
    assert store("redis-0.redis:6379", "10.0.0.7:6380", "[fd00::1]:6379").peers == (
        KvServer("redis-0.redis:6379", "redis-0.redis", 6379),
        KvServer("10.0.0.7:6380", "10.0.0.7", 6380),
        KvServer("[fd00::1]:6379", "fd00::1", 6379),
    )


@pytest.mark.parametrize(
    "server", ["redis", "redis:", ":6379", "redis:0", "redis:70000", "redis://h:6379", "fd00::1:6379"]
)
def test_what_is_not_a_host_and_a_port_is_refused(server: str) -> None:
    with pytest.raises(ValidationError, match="is not host:port"):
        store(server)


def test_a_store_without_servers_and_a_server_listed_twice_are_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        KvStore.model_validate({"servers": []})
    with pytest.raises(ValidationError, match="listed twice"):
        store("a:1", "b:1", "a:1")


@pytest.mark.parametrize(
    ("settings", "relays"),
    [
        ({}, True),
        ({"servers": ["a:1", "b:1"]}, False),
        ({"read_commands": True}, False),
        ({"auth_password": "secret"}, False),
        ({"downstream_auth_password": "secret"}, False),
    ],
    ids=["one server", "several", "one of more to come", "a password to it", "a password to us"],
)
def test_bytes_are_passed_on_unread_only_to_one_server_that_needs_no_password(
    settings: dict[str, Any], relays: bool
) -> None:
    assert store(**settings).relays_bytes is relays


@pytest.mark.parametrize(
    "more", [{}, {"tls": TLS}, {"downstream_auth_password": "secret"}], ids=["open", "TLS", "password"]
)
def test_a_store_that_others_can_reach_must_know_its_clients_or_be_told_that_it_need_not(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="trusted_network"):
        store(host="0.0.0.0", **more)
    assert store(host="0.0.0.0", trusted_network=True, **more).host == "0.0.0.0"
    assert store(host="0.0.0.0", tls={**TLS, "client_ca": "/etc/tls/ca.crt"}).host == "0.0.0.0"


def test_a_certificate_for_the_servers_comes_with_its_key() -> None:
    with pytest.raises(ValidationError, match="both cert and key"):
        store(upstream_tls={"cert": "/etc/tls/tls.crt"})


def test_a_user_of_the_servers_has_a_password() -> None:
    with pytest.raises(ValidationError, match="needs auth_password"):
        store(auth_username="kv")


def test_passwords_are_masked_where_the_configuration_is_shown() -> None:
    passwords = {"auth_password": "s3cret-up", "downstream_auth_password": "s3cret-down"}
    shown = as_yaml(Settings.model_validate({"kv_store": {"servers": ["a:1"], **passwords}}))
    assert "s3cret" not in shown
    assert shown.count(MASK) == 2
    assert "s3cret" not in repr(store(**passwords))
