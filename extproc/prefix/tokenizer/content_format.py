"""Whether a chat template wants a message's content as a string or as OpenAI's list of parts.

vLLM decides it by looking at the template: one that loops over a message's content takes parts (`renderers/hf.py`,
`_detect_content_format`, of version 0.32). The same rules here, with the same blind spots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from jinja2 import nodes

ContentFormat = Literal["string", "openai"]


def content_format(template: nodes.Template) -> ContentFormat:
    """The format that the parsed template takes."""
    messages = list(_message_names(template))
    in_macros: set[int] = set()
    for macro in template.find_all(nodes.Macro):
        holders = _content_parameters(template, macro, messages)
        for loop in macro.find_all(nodes.For):
            in_macros.add(id(loop))
            if isinstance(loop.iter, nodes.Name) and loop.iter.name in holders:
                return "openai"
    for loop in template.find_all(nodes.For):
        if _is_content(loop.iter, messages):
            return "openai"
        # Templates like to write `{% set content = message.content | trim %}` first.
        if id(loop) not in in_macros and isinstance(loop.iter, nodes.Name) and loop.iter.name == "content":
            return "openai"
    return "string"


def _message_names(template: nodes.Template) -> Iterator[str]:
    """Variables that loops over the messages give to each message."""
    lists = _aliases(template, "messages")
    for loop in template.find_all(nodes.For):
        if isinstance(loop.target, nodes.Name) and any(_leads_to(loop.iter, name) for name in lists):
            yield loop.target.name


def _aliases(template: nodes.Template, name: str) -> list[str]:
    """The variable, and those that are assigned it or a slice of it, at any remove."""
    found = [name]
    for known in found:
        for assignment in template.find_all(nodes.Assign):
            target = assignment.target
            if isinstance(target, nodes.Name) and target.name not in found and _leads_to(assignment.node, known):
                found.append(target.name)
    return found


def _content_parameters(template: nodes.Template, macro: nodes.Macro, messages: list[str]) -> set[str]:
    """Parameters of a macro that are somewhere given a message's content."""
    names = [argument.name for argument in macro.args]
    found: set[str] = set()
    for call in template.find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name) or call.node.name != macro.name:
            continue
        found |= {name for name, value in zip(names, call.args, strict=False) if _is_content(value, messages)}
        found |= {given.key for given in call.kwargs if given.key in names and _is_content(given.value, messages)}
    return found


def _is_content(node: nodes.Node, messages: Iterable[str]) -> bool:
    return any(_leads_to(node, name, "content") for name in messages)


def _leads_to(node: nodes.Node | None, name: str, key: str | None = None) -> bool:
    """Whether an expression is the variable, or its `key`, maybe filtered, tested or sliced."""
    if isinstance(node, nodes.Filter | nodes.Test):
        return _leads_to(node.node, name, key)
    if isinstance(node, nodes.Getitem):
        if isinstance(node.arg, nodes.Slice):
            return _leads_to(node.node, name, key)
        return key is not None and isinstance(node.arg, nodes.Const) and node.arg.value == key and _is(node.node, name)
    if isinstance(node, nodes.Getattr):
        return key is not None and node.attr == key and _is(node.node, name)
    return key is None and _is(node, name)


def _is(node: nodes.Node | None, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.ctx == "load" and node.name == name
