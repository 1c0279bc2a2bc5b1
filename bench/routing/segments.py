"""Prompts made of segments, cut into blocks as the gateway cuts them and as an engine does.

A segment's content is its kind, id and length: equal ones are equal content, different ones share nothing. The engine
knows blocks of a fixed number of tokens, whatever they are tokens of. The gateway cuts each run of text every 64 tokens
and gives an image one block with all its weight, which closes the text before it; the rest of the last run has no hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from xxhash import xxh3_64_intdigest

from bench.routing.request import BenchRequest
from extproc.prefix import Chain

GATEWAY_BLOCK_TOKENS = 64

Kind = Literal["text", "image"]
_Piece = tuple[int, int, int]  # content, offset, tokens

# Hashes of tuples of integers do not depend on the process; without the sign bit they fit wherever a 64-bit hash does.
_POSITIVE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a prompt that is equal to another only as a whole."""

    kind: Kind
    id: str
    tokens: int


def request(
    id: str,  # noqa: A002  # the field's name
    arrival_s: float,
    segments: Sequence[Segment],
    output: Segment,
    *,
    block_size: int,
    session: str | None = None,
    after: str | None = None,
    think_s: float = 0.0,
) -> BenchRequest:
    """A request from its segments.

    Args:
        output: the answer, as it would appear as a segment of a later prompt.
        block_size: tokens in an engine block.
    """
    prompt_tokens = sum(segment.tokens for segment in segments)
    blocks = engine_blocks([*segments, output], block_size)
    full = prompt_tokens // block_size
    chain, media_blocks = gateway_chain(segments)
    return BenchRequest(
        id=id,
        arrival_s=arrival_s,
        chain=chain,
        prompt_tokens=prompt_tokens,
        output_tokens=output.tokens,
        block_hashes=blocks[:full],
        output_block_hashes=blocks[full:],
        session=session,
        media_blocks=media_blocks,
        after=after,
        think_s=think_s,
    )


def engine_blocks(segments: Sequence[Segment], block_size: int) -> tuple[int, ...]:
    """One hash for each full block, naming its content and all before it."""
    cutter = _Cutter()
    cutter.cut([(_content(segment), segment.tokens) for segment in segments], block_size)
    return tuple(cutter.hashes)


def gateway_chain(segments: Sequence[Segment]) -> tuple[Chain, tuple[int, ...]]:
    """The gateway's chain, and which of its blocks are images."""
    cutter = _Cutter()
    media_blocks: list[int] = []
    for kind, run in _runs(segments):
        if kind == "image":
            for content, tokens in run:
                cutter.add([(content, 0, tokens)])
            media_blocks.append(len(cutter.hashes) - 1)
        else:
            cutter.loose = cutter.cut(run, GATEWAY_BLOCK_TOKENS)
    prompt_tokens = sum(segment.tokens for segment in segments)
    return Chain(tuple(cutter.hashes), tuple(cutter.weights), prompt_tokens), tuple(media_blocks)


def _runs(segments: Sequence[Segment]) -> Iterator[tuple[Kind, list[tuple[int, int]]]]:
    """Texts that follow each other as one run; every image for itself."""
    texts: list[tuple[int, int]] = []
    for segment in segments:
        if segment.kind == "text":
            texts.append((_content(segment), segment.tokens))
            continue
        if texts:
            yield "text", texts
            texts = []
        yield "image", [(_content(segment), segment.tokens)]
    if texts:
        yield "text", texts


class _Cutter:
    """Chained hashes of what passes by. `loose` is text that an image would close."""

    def __init__(self) -> None:
        self.hashes: list[int] = []
        self.weights: list[int] = []
        self.loose: list[_Piece] = []
        self._link = 0

    def add(self, pieces: list[_Piece]) -> None:
        if self.loose:
            loose, self.loose = self.loose, []
            self._push(loose)
        self._push(pieces)

    def cut(self, contents: Sequence[tuple[int, int]], block_size: int) -> list[_Piece]:
        """Adds the full blocks and returns the pieces that are left over."""
        pieces: list[_Piece] = []
        room = block_size
        for content, tokens in contents:
            offset = 0
            while offset < tokens:
                take = min(room, tokens - offset)
                pieces.append((content, offset, take))
                offset += take
                room -= take
                if not room:
                    self._push(pieces)
                    pieces, room = [], block_size
        return pieces

    def _push(self, pieces: list[_Piece]) -> None:
        self._link = hash((self._link, *pieces)) & _POSITIVE
        self.hashes.append(self._link)
        self.weights.append(sum(tokens for _, _, tokens in pieces))


@lru_cache(maxsize=200_000)
def _content(segment: Segment) -> int:
    return xxh3_64_intdigest(f"{segment.kind}\x1f{segment.id}\x1f{segment.tokens}".encode()) & _POSITIVE
