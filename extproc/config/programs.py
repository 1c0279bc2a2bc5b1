"""The `programs` section: what `kvgate run` starts and keeps running beside the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat

from .section import Name, Section


def _written(value: object) -> object:
    """What YAML takes for an integer, a port or a core, is a word in a command all the same."""
    return str(value) if type(value) is int else value


def _web_or_tcp(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https", "tcp") or not rest:
        raise ValueError("needs http://, https:// or tcp://host:port")
    if scheme == "tcp":
        host, _, port = rest.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("needs a host and a port: tcp://127.0.0.1:6379")
    return url


Word = Annotated[str, BeforeValidator(_written)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Program(Section):
    """A command that `kvgate run` starts, and starts again when it ends: an engine, a cache server. `kvgate serve`
    starts none."""

    name: Annotated[Name, Field(max_length=64)]
    command: Annotated[tuple[Word, ...], Field(min_length=1)] = Field(
        description="the program and its arguments; no shell; paths are relative to where `kvgate run` was started"
    )
    env: dict[VariableName, Word] = Field(
        default_factory=dict, repr=False, description="variables beside those of `kvgate run` itself"
    )
    ready_url: Annotated[str, AfterValidator(_web_or_tcp)] | None = Field(
        None, description="`http://...` that answers 200 or `tcp://host:port` that listens; default: ready once started"
    )
    after: tuple[Name, ...] = Field((), description="programs that must be ready before this one is started")
    stop_within_s: PositiveFloat = Field(20.0, description="after SIGTERM; then it is killed")


def levels(programs: Sequence[Program]) -> tuple[tuple[Program, ...], ...]:
    """The programs in the order of `after`: each level needs only those in front of it.

    Raises:
        ValueError: `after` names nobody, or goes round in circles.
    """
    names = {program.name for program in programs}
    for program in programs:
        for other in program.after:
            if other not in names:
                raise ValueError(f"programs: {program.name!r} comes after {other!r}, which is no program")
    found: list[tuple[Program, ...]] = []
    placed: set[str] = set()
    while len(placed) < len(names):
        level = tuple(each for each in programs if each.name not in placed and placed.issuperset(each.after))
        if not level:
            circle = ", ".join(sorted(names - placed))
            raise ValueError(f"programs: each of these waits for another of them: {circle}")
        found.append(level)
        placed.update(each.name for each in level)
    return tuple(found)
