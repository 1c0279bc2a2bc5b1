"""Names that must agree across sections, checked where their lines are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import KeyPath, Problem, nearest


def wrong_names(values: dict[str, Any]) -> list[Problem]:
    """Providers and models named twice, and deployments of providers that do not exist.

    Works on values that may not be valid otherwise, so that a file's faults are all told at once.
    """
    providers = dict(_names(values, "providers"))
    problems = [*_repeated(values, "providers"), *_repeated(values, "models")]
    for model_path, model in _items(values, "models", ()):
        for path, deployment in _items(model, "deployments", model_path):
            name = deployment.get("provider")
            if isinstance(name, str) and name not in providers.values():
                text = f'no provider is named "{name}"' + nearest(name, list(providers.values()))
                problems.append(Problem((*path, "provider"), text))
    return problems


def unused_providers(values: dict[str, Any]) -> list[Problem]:
    """A warning for every provider that serves no model."""
    used = {
        deployment.get("provider")
        for model_path, model in _items(values, "models", ())
        for _, deployment in _items(model, "deployments", model_path)
    }
    return [
        Problem(path, f'provider "{name}" serves no model; it gets no traffic')
        for path, name in _names(values, "providers")
        if name not in used
    ]


def _repeated(values: dict[str, Any], section: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, name in _names(values, section):
        if name in seen:
            yield Problem((*path, "name"), f'the name "{name}" is used more than once')
        seen.add(name)


def _names(values: dict[str, Any], section: str) -> Iterator[tuple[KeyPath, str]]:
    for path, item in _items(values, section, ()):
        if isinstance(item.get("name"), str):
            yield path, item["name"]


def _items(values: dict[str, Any], key: str, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    items = values.get(key)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield (*path, key, index), item
