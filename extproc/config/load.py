"""A configuration file -> `Settings`. Everything that is wrong with it is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .build import build
from .complaints import complaints
from .document import Document, read
from .errors import ConfigError, Problem
from .keys import api_keys, keys_in_plain_text
from .legacy import FirstGeneration, retire
from .references import unused_providers, wrong_names
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and what their author should know.

    Args:
        warnings: one line each, with file and line.
        remarks: the same, to be written in another way.
    """

    settings: Settings
    warnings: tuple[str, ...] = ()
    remarks: tuple[Problem, ...] = ()


def load(path: Path, env: Mapping[str, str]) -> Loaded:
    """Reads a YAML file.

    Args:
        env: where ``${VAR}`` is looked up.

    Raises:
        ConfigError: the file cannot be read or used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem((), f"cannot be read: {error.strerror or error}")], str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem((), f"is not valid UTF-8 at byte {error.start}")], str(path)) from None
    return loads(text, env, str(path))


def loads(text: str, env: Mapping[str, str], source: str = "kvgate.yaml") -> Loaded:
    """The same for text that has been read; `source` stands before the lines in what is said about it."""
    try:
        document = read(text, env)
        values = document.values
    except ConfigError as error:
        raise ConfigError(error.problems, source) from None
    try:
        _check(document)
        settings, warnings = retire(values)
        if settings.models:
            build(settings)
        api_keys(settings)
    except ConfigError as error:
        raise ConfigError([problem.located(document.lines) for problem in error.problems], source) from None
    warnings += unused_providers(values)
    warnings += keys_in_plain_text(settings, document.expanded)
    located = sorted((warning.located(document.lines) for warning in warnings), key=lambda warning: warning.line or 0)
    return Loaded(settings, tuple(warning.write(source) for warning in located), tuple(located))


def _check(document: Document) -> None:
    values = document.values
    wrong = wrong_names(values)
    try:
        _validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        if wrong:
            # Said already, with their lines.
            faults = [fault for fault in faults if fault["loc"] != ()]
        raise ConfigError(wrong + complaints(faults, FirstGeneration, document.lines)) from None
    if wrong:
        raise ConfigError(wrong)


def _validate(document: Document) -> None:
    """Validates, and where text is wanted but a number or a boolean stands, takes that as it was written."""
    try:
        FirstGeneration.model_validate(document.values)
        return
    except ValidationError as error:
        misread = {
            fault["loc"]: document.written[fault["loc"]]
            for fault in error.errors(include_url=False, include_input=False)
            if fault["type"] in ("string_type", "literal_error", "path_type") and fault["loc"] in document.written
        }
        if not misread:
            raise
    for path, text in misread.items():
        section: Any = document.values
        for step in path[:-1]:
            section = section[step]
        section[path[-1]] = text
    FirstGeneration.model_validate(document.values)
