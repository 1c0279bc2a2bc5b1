"""docs/configuration.md, written from the settings model: `make docs`, or `python -m tools.config_reference`."""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import HttpUrl
from pydantic.fields import FieldInfo

from extproc.config.section import Section
from extproc.config.settings import Settings
from tools.config_words import DESCRIPTIONS, EXAMPLES, INTRODUCTION

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Ge, "ge", ">="),
    (annotated_types.Lt, "lt", "<"),
    (annotated_types.Le, "le", "<="),
)
_PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", HttpUrl: "URL"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the reference.

    Args:
        key: as it is written in the file, from the top: `models[].deployments[].weight`.
        told_twice: both the model and `config_words` describe it.
    """

    key: str
    type: str
    default: str
    description: str
    told_twice: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the file, with those settings that are not sections themselves."""

    key: str
    summary: str
    settings: tuple[Setting, ...]


def parts(model: type[Section] = Settings, key: str = "") -> Iterator[Part]:
    """Every section of the file in the order of the model, a section before those inside it."""
    own: list[Setting] = []
    inner: list[tuple[str, type[Section]]] = []
    for name, field in model.model_fields.items():
        path = f"{key}.{name}" if key else name
        found = section_in(field.annotation)
        if found is None:
            own.append(_setting(path, field))
        else:
            nested, many = found
            inner.append((path + "[]" * many, nested))
    yield Part(key, _prose(model), tuple(own))
    for path, nested in inner:
        yield from parts(nested, path)


def section_in(annotation: Any) -> tuple[type[Section], bool] | None:
    """The section that a setting holds, and whether it holds a list of them; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    for argument in get_args(annotation):
        found = section_in(argument) if argument is not Ellipsis else None
        if found is not None:
            return found[0], found[1] or get_origin(annotation) is tuple
    return None


def describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type as a reader of YAML would say it: `integer, >= 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0], [*arguments[1:], *metadata])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(each, metadata) for each in arguments if each is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is tuple:
        return f"list of {describe(arguments[0], metadata)}"
    if origin is dict:
        return f"map of {describe(arguments[1], metadata)}"
    return ", ".join([_PLAIN[annotation], *_bounds(metadata)])


def _bounds(metadata: Sequence[Any]) -> list[str]:
    """The limits on a number; how long a text may be says nothing that a reader needs."""
    found: list[str] = []
    for each in metadata:
        for inner in each.metadata if isinstance(each, FieldInfo) else [each]:
            found += [f"{sign} {getattr(inner, name)}" for kind, name, sign in _BOUNDS if isinstance(inner, kind)]
    return found


def _setting(key: str, field: FieldInfo) -> Setting:
    description = DESCRIPTIONS.get(key, field.description)
    twice = field.description is not None and key in DESCRIPTIONS
    return Setting(key, describe(field.annotation, field.metadata), _default(key, field), description or "", twice)


def _default(key: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    if value == ():
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and key.endswith("_bytes"):
        return f"`{value}` ({_binary(value)})"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _binary(value: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value % size == 0:
            return f"{value // size} {unit}"
    return str(value)


def _prose(model: type[Section]) -> str:
    return " ".join((model.__doc__ or "").split())


def page() -> str:
    """The whole page."""
    sections = list(parts())
    lines = [INTRODUCTION.strip(), ""]
    for part in sections:
        if part.key:
            lines += [f"{'#' * (2 + part.key.count('.'))} {part.key}", part.summary, ""]
            lines += _example(part.key)
        if part.settings:
            lines += ["| setting | type | default | |", "|---|---|---|---|"]
            lines += [_row(part.key, each) for each in part.settings]
            lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _row(section: str, setting: Setting) -> str:
    name = setting.key.removeprefix(section).lstrip(".")
    cells = (f"`{name}`", setting.type, setting.default, setting.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _example(key: str) -> list[str]:
    return ["```yaml", EXAMPLES[key].strip(), "```", ""] if key in EXAMPLES else []


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page; with --check only says whether it is up to date: status 0 it is, 1 it is not."""
    parser = argparse.ArgumentParser(prog="python -m tools.config_reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the page is out of date")
    arguments = parser.parse_args(argv)
    if not arguments.check:
        PAGE.write_text(page(), "utf-8")
        return 0
    if PAGE.read_text("utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE} is out of date; run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
