"""Rendering a chat template as `transformers` renders it (`utils/chat_template_utils.py` of version 5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from extproc.prefix.tokenizer.content_format import ContentFormat, content_format

Turn = dict[str, Any]
"""A message as templates know it: role, content, tool_calls and so on."""

_OPEN_END = "CONTINUE_FINAL_MESSAGE_TAG "


class TemplateRefused(ValueError):
    """The template does not take this conversation."""


class ChatTemplate:
    """One Jinja template of a model.

    Args:
        source: its text.
        named_tokens: what it knows as `bos_token`, `eos_token` and so on.

    Raises:
        TemplateRefused: it is no Jinja template.
    """

    def __init__(self, source: str, named_tokens: Mapping[str, str]) -> None:
        self._source = source
        self._named_tokens = dict(named_tokens)
        try:
            tree = _ENVIRONMENT.parse(source)
            self._template: Template = _ENVIRONMENT.from_string(source)
        except TemplateError as error:
            raise TemplateRefused(f"the chat template is not valid: {error}") from None
        self.content_format: ContentFormat = content_format(tree)
        self.variables = frozenset(meta.find_undeclared_variables(tree))
        self.knows_developers = '"developer"' in source or "'developer'" in source

    def render(
        self,
        turns: Sequence[Turn],
        *,
        tools: list[Any] | None = None,
        documents: list[Any] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The text of the prompt.

        Args:
            continue_final_message: the last turn is left open, for the model to go on with it.
            variables: further ones; they win over named tokens, and what the template does not use is left out.

        Raises:
            TemplateRefused: the template raised, or there is no last message to go on with.
        """
        if continue_final_message:
            if add_generation_prompt:
                raise TemplateRefused("continue_final_message and add_generation_prompt exclude each other")
            turns = _left_open(turns)
        given = {name: value for name, value in (variables or {}).items() if name in self.variables}
        try:
            text = self._template.render(
                **{**self._named_tokens, **given},
                messages=turns,
                tools=tools,
                documents=documents,
                add_generation_prompt=add_generation_prompt,
            )
        except Exception as error:  # a template is a program: on strange input it fails in any way
            raise TemplateRefused(str(error)) from None
        return _cut_at_open_end(text) if continue_final_message else text


def _left_open(turns: Sequence[Turn]) -> Sequence[Turn]:
    turns = deepcopy(list(turns))
    content = turns[-1].get("content") if turns else None
    if isinstance(content, str):
        turns[-1]["content"] = content + _OPEN_END
        return turns
    for part in reversed(content or ()):
        if "text" in part:
            part["text"] += _OPEN_END
            return turns
    raise TemplateRefused("there is no text in the last message to go on with")


def _cut_at_open_end(text: str) -> str:
    at = text.rfind(_OPEN_END.strip())
    if at < 0:
        raise TemplateRefused("the template leaves out the last message")
    # A template that trims has taken the mark's space, and what the text ended in.
    return text[:at] if text.startswith(_OPEN_END, at) else text[:at].rstrip()


class _Generation(Extension):
    """``{% generation %}`` marks what the model wrote, for training; here it only passes on what is in it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller: Callable[[], str]) -> str:
        return caller()


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> str:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _now
    return environment


_ENVIRONMENT = _environment()
