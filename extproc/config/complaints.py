"""pydantic's errors -> sentences for the person who wrote the file."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from .errors import KeyPath, Problem, nearest

_WORDS = {
    "missing": "is required",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "model_type": "must be a section of keys and values",
    "path_type": "must be a path",
}
_FAMILIES = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "url": "must be a URL such as http://10.0.0.1:8000",
}


def complaints(errors: Iterable[ErrorDetails], root: type[BaseModel], known: Container[KeyPath]) -> list[Problem]:
    """One problem a key; the alternatives of a union are joined by "or".

    Args:
        root: the model that was validated.
        known: every key that stands in the file.
    """
    texts: dict[KeyPath, list[str]] = {}
    for error in errors:
        path = _path_in_file(error["loc"], known, missing=error["type"] == "missing")
        text = _sentence(error, root, path)
        if text not in texts.setdefault(path, []):
            texts[path].append(text)
    return [Problem(path, " or ".join([first, *(text.removeprefix("must be ") for text in rest)]))
            for path, (first, *rest) in texts.items()]  # fmt: skip


def section_at(root: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model of the section that stands at `path`, if a section does."""
    section: type[BaseModel] | None = root
    for step in path:
        if section is None:
            return None
        if isinstance(step, str):
            fields = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
            section = _section_in(fields.get(step))
    return section


def _path_in_file(loc: KeyPath, known: Container[KeyPath], missing: bool) -> KeyPath:
    """`loc` without the steps that pydantic adds for the branches of a union."""
    if missing:
        return loc
    while loc and loc not in known:
        loc = loc[:-1]
    return loc


def _sentence(error: ErrorDetails, root: type[BaseModel], path: KeyPath) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        section = section_at(root, path[:-1])
        keys = [field.alias or name for name, field in section.model_fields.items()] if section else []
        return "unknown key" + nearest(str(path[-1]), keys)
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    words = _WORDS.get(kind) or _FAMILIES.get(kind.partition("_")[0])
    if words is None:
        return error["msg"][:1].lower() + error["msg"][1:]
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
    return words.format_map(limits).replace("'", '"')


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((section for inner in get_args(annotation) if (section := _section_in(inner))), None)
