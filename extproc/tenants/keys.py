"""API keys: kept as SHA-256, found in a time that says nothing about them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from extproc.tenants.rules import UNLIMITED, Rules


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a request is made.

    Args:
        key: public id of the key; empty where the tenant is known without one, and then `key_rules` mean nothing.
        models: that it may ask for; None is all.
    """

    key: str
    tenant: str
    models: frozenset[str] | None = None
    key_rules: Rules = UNLIMITED
    tenant_rules: Rules = UNLIMITED

    def may_ask(self, model: str) -> bool:
        """Whether it may use that model."""
        return self.models is None or model in self.models


def digest(plain: str) -> bytes:
    """SHA-256 of a key."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()


def public_id(sha256: bytes) -> str:
    """A name for a key that may be shown: the first 12 hexadecimal digits of its SHA-256."""
    return sha256.hex()[:12]


@dataclass(frozen=True, slots=True)
class Key:
    """A key's SHA-256 and whose it is.

    Raises:
        ValueError: not a SHA-256.
    """

    sha256: bytes = field(repr=False)
    caller: Caller

    def __post_init__(self) -> None:
        if len(self.sha256) != hashlib.sha256().digest_size:
            raise ValueError("not a SHA-256 digest: it has another length")


class KeyRing:
    """All keys that are let in.

    The table is indexed by a keyed hash whose secret each process draws for itself: how far two entries agree tells
    nothing of how far two keys do, and nobody can aim at it. The digest itself is compared in constant time.

    Raises:
        ValueError: a key that is there twice, or two keys whose public ids are the same.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._secret = secrets.token_bytes(32)
        self._nobody = secrets.token_bytes(32)
        self._keys: dict[bytes, Key] = {}
        ids: set[str] = set()
        for key in keys:
            if public_id(key.sha256) in ids:
                raise ValueError(f"the key with id {public_id(key.sha256)} (tenant {key.caller.tenant}) is there twice")
            ids.add(public_id(key.sha256))
            self._keys[self._place(key.sha256)] = key

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, presented: str) -> Caller | None:
        """Whose key that is; None if nobody's."""
        sha256 = digest(presented)
        key = self._keys.get(self._place(sha256))
        known = key.sha256 if key is not None else self._nobody
        same = hmac.compare_digest(known, sha256)
        return key.caller if key is not None and same else None

    def _place(self, sha256: bytes) -> bytes:
        return hashlib.blake2b(sha256, digest_size=16, key=self._secret).digest()
