"""YAML text -> plain values, with the line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from .environment import Unresolved, expand
from .errors import ConfigError, KeyPath, Problem

_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset(_TAG + name for name in ("null", "bool", "int", "float"))
_TEXT = frozenset(_TAG + name for name in ("str", "timestamp", "value"))


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file as read.

    A key without a value is left out, so that it keeps its default.

    Args:
        lines: of every key and list item, counted from 1.
        written: numbers, booleans and the like as they were written: ``007`` may have been meant as text.
        expanded: what refers to the environment.
    """

    values: dict[str, Any]
    lines: dict[KeyPath, int]
    written: dict[KeyPath, str]
    expanded: frozenset[KeyPath] = frozenset()


def read(text: str, env: Mapping[str, str]) -> Document:
    """Reads one YAML document, with references to the environment replaced.

    A plain scalar gets its type after that: ``port: ${PORT:-8080}`` is a number.

    Raises:
        ConfigError: not YAML, empty, not a mapping, a duplicated key, or an unset variable. It names no source.
    """
    try:
        return _read(text, env)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError([Problem((), "not valid YAML: a character that YAML does not allow", line)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(error)]) from None
    except RecursionError:
        raise ConfigError([Problem((), "nested too deeply")]) from None


def _read(text: str, env: Mapping[str, str]) -> Document:
    loader = yaml.SafeLoader(text)
    root = loader.get_single_node()
    if root is None:
        raise ConfigError([Problem((), "the file is empty")])
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError([Problem((), "must be a mapping of sections, such as server: and models:", _line(root))])
    reader = _Reader(loader, env)
    values = reader.mapping(root, ())
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(values, reader.lines, reader.written, frozenset(reader.expanded))


@dataclass(slots=True)
class _Reader:
    loader: yaml.SafeLoader
    env: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    expanded: set[KeyPath] = field(default_factory=set)
    open: list[yaml.Node] = field(default_factory=list)

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        if node in self.open:
            self.problems.append(Problem(path, "refers to itself", _line(node)))
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.append(node)
        read = self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)
        self.open.pop()
        return read

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key, child in self.own_pairs(node):
            here, line = (*path, key.value), _line(key)
            if key.value in seen:
                text = f"the key stands twice; the first is on line {seen[key.value]}"
                self.problems.append(Problem(here, text, line))
            seen[key.value] = self.lines[here] = line
            values[key.value] = self.value(child, here)
        for key, child in self.merged_pairs(node):
            if key.value not in values:
                here = (*path, key.value)
                self.lines[here] = _line(key)
                values[key.value] = self.value(child, here)
        return {key: value for key, value in values.items() if value is not None}

    def own_pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem((), "a key must be a word", _line(key)))
            elif key.tag != _TAG + "merge":
                yield key, child

    def merged_pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """What ``<<: *anchor`` brings in; the first of several wins."""
        for key, child in node.value:
            if key.tag != _TAG + "merge":
                continue
            for source in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                if not isinstance(source, yaml.MappingNode) or source in self.open or source is node:
                    self.problems.append(Problem((), "<< must name a mapping", _line(key)))
                    continue
                self.open.append(source)
                yield from self.own_pairs(source)
                yield from self.merged_pairs(source)
                self.open.pop()

    def sequence(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        items = []
        for index, child in enumerate(node.value):
            here = (*path, index)
            self.lines[here] = _line(child)
            items.append(self.value(child, here))
        return items

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        try:
            text = expand(node.value, self.env)
        except Unresolved as error:
            self.problems.append(Problem(path, str(error), _line(node)))
            return None
        if "${" in node.value:
            self.expanded.add(path)
        tag = node.tag
        if text != node.value and node.style is None:
            tag = self.loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if tag in _TEXT:
            return text
        if tag not in _TYPED:
            self.problems.append(Problem(path, "has a YAML tag that means nothing here", _line(node)))
            return None
        try:
            value = self.loader.construct_object(yaml.ScalarNode(tag, text))
        except (ValueError, KeyError):
            return text
        self.written[path] = text
        return value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be parsed"
    if problem.startswith("found undefined alias"):
        # Its name may be the beginning of a key that should have been quoted.
        problem = "found an undefined alias; text that begins with * needs quotes"
    return Problem((), f"not valid YAML: {problem}", mark.line + 1 if mark else None)
