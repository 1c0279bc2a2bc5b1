"""The chat template: turns -> token ids, in ChatML's manner (as Qwen's models do it).

    <start>system\\n{system text}{tools}<end>\\n<start>user\\n{content}<end>\\n<start>assistant\\n

Media stand where the client put them, as a run of placeholders between a start and an end token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from extproc.sim import tokens
from extproc.sim.blocks import PlacedMedia
from extproc.sim.media import Media

Part = str | Media

_PAD = {"image": tokens.IMAGE_PAD, "audio": tokens.AUDIO_PAD, "video": tokens.VIDEO_PAD}
_NEWLINE = tokens.tokenize("\n")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks, and what is said and shown in which order."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the engine computes: token ids and where the media are among them."""

    token_ids: list[int]
    media: tuple[PlacedMedia, ...] = ()

    @property
    def media_tokens(self) -> int:
        return sum(item.tokens for item in self.media)


def render(turns: Sequence[Turn], tools: Sequence[Any] = (), *, open_reply: bool = True) -> Prompt:
    """The prompt of a conversation.

    Args:
        tools: tool definitions; they follow the system text, which is made up if there is none.
        open_reply: end with the opening of the assistant's turn.
    """
    if tools:
        rest = turns[1:] if turns and turns[0].role == "system" else turns
        system = turns[0].parts if rest is not turns else ()
        turns = [Turn("system", (*system, _tools_text(tools))), *rest]
    ids: list[int] = []
    media: list[PlacedMedia] = []
    for turn in turns:
        ids += _opening(turn.role)
        _render_parts(turn.parts, ids, media)
        ids.append(tokens.MESSAGE_END)
        ids += _NEWLINE
    if open_reply:
        ids += _opening("assistant")
    return Prompt(ids, tuple(media))


def call_text(name: Any, arguments: Any) -> str:
    """A tool call that the assistant made earlier, as the template writes it."""
    return f"<tool_call>\n{orjson.dumps({'name': name, 'arguments': arguments}).decode()}\n</tool_call>"


@lru_cache(maxsize=64)
def _opening(role: str) -> tuple[int, ...]:
    return (tokens.MESSAGE_START, *tokens.tokenize(role), *_NEWLINE)


def _tools_text(tools: Iterable[Any]) -> str:
    lines = "\n".join(orjson.dumps(tool).decode() for tool in tools)
    return f"\n\n# Tools\n\n<tools>\n{lines}\n</tools>"


def _render_parts(parts: Sequence[Part], ids: list[int], media: list[PlacedMedia]) -> None:
    for part in parts:
        if isinstance(part, str):
            ids += tokens.tokenize(part)
            continue
        ids.append(tokens.IMAGE_START)
        media.append(PlacedMedia(part.identity, len(ids), part.tokens))
        ids += [_PAD[part.kind]] * part.tokens
        ids.append(tokens.IMAGE_END)
