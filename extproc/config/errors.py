"""What is wrong with a configuration, said all at once and with line numbers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

KeyPath = tuple[str | int, ...]
"""Where a value stands: ``("models", 0, "name")``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault, or one warning. Its text never holds a configured value that could be a secret.

    Args:
        path: the key at fault; empty for the file as a whole.
        line: counted from 1; None when unknown.
    """

    path: KeyPath
    text: str
    line: int | None = None

    def located(self, lines: Mapping[KeyPath, int]) -> Problem:
        """The same with the line of its key, or of the nearest section around it."""
        if self.line is not None:
            return self
        path = self.path
        while path and path not in lines:
            path = path[:-1]
        return replace(self, line=lines.get(path))

    def write(self, source: str | None) -> str:
        """``kvgate.yaml:12: server.prot: unknown key``."""
        where = source if self.line is None else f"{source}:{self.line}"
        return ": ".join(part for part in (where if source else None, dotted(self.path), self.text) if part)


class ConfigError(ValueError):
    """A configuration that cannot be used; its text is one line a problem.

    Args:
        source: the file's name, if the configuration came from one.
    """

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(problem.write(source) for problem in self.problems))


def dotted(path: KeyPath) -> str:
    """``models[0].name``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, known: Sequence[str]) -> str:
    """``; did you mean "port"?``, or nothing when no known word is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else ""
