"""API keys as they are configured -> their digests. From here on, nothing knows a key."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from pathlib import Path

from .errors import ConfigError, KeyPath, Problem
from .policies import ApiKey
from .settings import Settings

_LONGEST_KEY_BYTES = 4096


def api_keys(settings: Settings) -> list[tuple[bytes, ApiKey]]:
    """SHA-256 of each key, and what it is for. Reads key files.

    Raises:
        ConfigError: a key file cannot be read or holds no key; a key is given twice.
    """
    found: dict[bytes, ApiKey] = {}
    problems: list[Problem] = []
    for index, configured in enumerate(settings.auth.api_keys):
        path: KeyPath = ("auth", "api_keys", index)
        try:
            digest = _digest(configured)
        except ValueError as error:
            problems.append(Problem((*path, "key_file"), str(error)))
            continue
        if digest in found:
            problems.append(Problem(path, "the same key stands further up"))
        found[digest] = configured
    if problems:
        raise ConfigError(problems)
    return list(found.items())


def keys_in_plain_text(settings: Settings, expanded: Container[KeyPath]) -> list[Problem]:
    """A warning for each key that whoever reads the file can read.

    Args:
        expanded: what refers to the environment.
    """
    paths: list[KeyPath] = [
        ("auth", "api_keys", index, "key") for index, each in enumerate(settings.auth.api_keys) if each.key is not None
    ]
    text = "stands here in plain text; give it as ${VARIABLE}, as key_file, or as key_sha256"
    return [Problem(path, text) for path in paths if path not in expanded]


def _digest(configured: ApiKey) -> bytes:
    if configured.key_sha256 is not None:
        return bytes.fromhex(configured.key_sha256)
    key = configured.key if configured.key_file is None else _read(configured.key_file)
    return hashlib.sha256((key or "").encode()).digest()


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_KEY_BYTES + 1)
        key = content.decode().strip()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not key or len(content) > _LONGEST_KEY_BYTES or len(key.split()) > 1:
        raise ValueError("must hold a key and nothing else")
    return key
