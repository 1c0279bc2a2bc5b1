"""The templates in envoy/, filled in.

A placeholder is the whole of a quoted scalar, `"${NAME}"` or `"${NAME:-default}"`, so the template stays YAML that any
editor understands, and no value can break out of its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_PLACEHOLDER = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::-(?P<default>[^}]*))?\}")


def shipped(name: str) -> str:
    """A file of the front proxy, as text: beside this module in a wheel, in `envoy/` in a checkout."""
    packaged = Path(__file__).with_name(name)
    return (packaged if packaged.is_file() else Path(__file__).parents[2] / "envoy" / name).read_text("utf-8")


def fill(text: str, values: Mapping[str, str | int]) -> dict[str, Any]:
    """The template as a document, with `values` in place of placeholders.

    Raises:
        ValueError: a placeholder without value or default, or a value that nothing asks for.
    """
    unused = set(values)

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        if isinstance(node, list):
            return [filled(item) for item in node]
        match = _PLACEHOLDER.fullmatch(node) if isinstance(node, str) else None
        if match is None:
            return node
        unused.discard(match["name"])
        if match["name"] in values:
            return values[match["name"]]
        if match["default"] is None:
            raise ValueError(f"nothing to fill ${{{match['name']}}} in with")
        return _typed(match["default"])

    document: dict[str, Any] = filled(yaml.load(text, Loader=_Loader))
    if unused:
        raise ValueError(f"there is no placeholder for {', '.join(sorted(unused))}")
    return document


def _typed(default: str) -> str | int | bool:
    if default in ("true", "false"):
        return default == "true"
    return int(default) if default.isdigit() else default


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True  # what is used twice is written twice: easier to read than anchors named id001


def _as_lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _as_lines)


def to_yaml(document: Mapping[str, Any]) -> str:
    """A document as YAML in the order of its keys, without anchors."""
    return yaml.dump(dict(document), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)
