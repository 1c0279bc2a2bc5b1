"""Settings -> YAML that may be shown: every secret is masked."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import BaseModel

from .settings import Settings

MASK = "********"
_SECRET = re.compile(r"token$|secret|password|passwd|credential|api_?key$|^key$|authorization|headers$", re.IGNORECASE)
_NOT_SECRET = frozenset({"default_tpm", "reserve_tokens"})
_IN_URL = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://)(?P<login>[^/?#\s]*)@", re.IGNORECASE)
_IN_QUERY = re.compile(r"(?P<name>[?&](?:password|token|api_?key|secret)=)[^&#\s]*", re.IGNORECASE)
_SHOWN_DIGITS = 8


def as_yaml(settings: Settings) -> str:
    """All settings, those left at their defaults too."""
    return yaml.safe_dump(_shown(settings), sort_keys=False, allow_unicode=True, width=120)


def _shown(section: BaseModel) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, about in type(section).model_fields.items():
        value = getattr(section, name)
        if value is not None:
            hidden = about.repr is False or (_SECRET.search(name) is not None and name not in _NOT_SECRET)
            shown[about.alias or name] = _value(value, hidden=hidden)
    return shown


def _value(value: Any, *, hidden: bool) -> Any:
    if isinstance(value, BaseModel):
        return _shown(value)
    if isinstance(value, (list, tuple)):
        return [_value(each, hidden=hidden) for each in value]
    if isinstance(value, dict):
        return {str(key): _value(each, hidden=hidden) for key, each in value.items()}
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    if hidden and "://" not in text:
        return MASK
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text[:_SHOWN_DIGITS] + MASK  # of a short key, a digest says too much
    return _IN_QUERY.sub(rf"\g<name>{MASK}", _IN_URL.sub(_masked_login, text))


def _masked_login(match: re.Match[str]) -> str:
    user, colon, _ = match["login"].partition(":")
    return f"{match['before']}{user if colon else ''}{':' if colon else ''}{MASK}@"
