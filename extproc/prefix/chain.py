"""A request -> the chain of block hashes that its KV cache is known by.

    seed = model + LoRA adapter + cache salt + tools
    hash[0] = xxh3(block[0], seed); hash[i] = xxh3(block[i], hash[i - 1])

A hash names a block and everything before it, so two prompts share a hash exactly when they share the whole prefix
(64 bits: a collision costs one badly routed request, never a wrong answer). Text is cut every `block_size` tokens'
worth of bytes; a medium is one block of its own, however many tokens it weighs, and closes the text before it. The
last, partial block of a prompt has no hash: the next turn will continue it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import orjson
from xxhash import xxh3_64_intdigest

from extproc.api.errors import BadRequest
from extproc.api.requests import InferenceRequest, Media, Message, Part, Text, TokenIds
from extproc.prefix.correction import NOTHING, UNCORRECTED, Content, Correction
from extproc.prefix.exact import ExactPrompt, keys
from extproc.prefix.media import Identities, MediaIdentity
from extproc.prefix.tokens import media_tokens

_TOKEN_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides how a model's prompts are cut and weighed.

    Args:
        model: seeds the chain; the engine's name, which for a LoRA adapter is the adapter's.
        block_size: tokens of text in a block.
        bytes_per_token: UTF-8 bytes of text in a token, on average.
        image_rule: a family's rule of `prefix.tokens`, or a fixed number of tokens an image.
        correction: what was learned of the model's tokens. Changes what blocks weigh, never where they are cut.
    """

    model: str
    block_size: int = 64
    bytes_per_token: float = 4.0
    image_rule: str | int = "qwen2_vl"
    correction: Correction = field(default=UNCORRECTED, compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """The fingerprint of a prompt.

    Args:
        hashes: one 64-bit hash a block, in prompt order.
        weights: the prompt tokens in each block; same length as `hashes`.
        prompt_tokens: all tokens of the prompt, the partial last block and further batch prompts included.
        content: what the estimate was made from, to learn from what the engine counts.
    """

    hashes: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    prompt_tokens: int = 0
    content: Content = NOTHING

    def __len__(self) -> int:
        return len(self.hashes)


def fingerprint(request: InferenceRequest, shape: Shape, identities: Identities | None = None) -> Chain:
    """The chain of a request under a model's shape.

    Args:
        identities: of the request's media, if others ask for them, too.

    Raises:
        BadRequest: a media payload is not base64.
    """
    cutter = _Cutter(_seed(request, shape), shape, identities or Identities())
    messages = request.messages
    if request.tools:
        # Templates put tools behind the system prompt; either way both are in front of the first turn.
        if messages and messages[0].role in ("system", "developer"):
            cutter.message(messages[0])
            messages = messages[1:]
        cutter.text("\x1etools\x1f" + request.tools)
    for message in messages:
        cutter.message(message)
    return cutter.finish(batch=request.batch)


def chain_of_tokens(prompt: ExactPrompt, block_size: int, model: str, content: Content = NOTHING) -> Chain:
    """The chain of a prompt whose tokens are known, all of them.

    Args:
        block_size: tokens in a block, as the engine cuts them.
        model: tells its blocks from those of others, in whose vocabularies equal ids are other words.
        content: as estimated from the text, to learn from.
    """
    seed = xxh3_64_intdigest(model.encode("utf-8", "surrogatepass"))
    hashes = tuple(key ^ seed for key in keys(prompt, block_size))
    return Chain(hashes, (block_size,) * len(hashes), max(1, len(prompt.ids)), content)


def _seed(request: InferenceRequest, shape: Shape) -> int:
    adapter = request.fields.get("lora_path")
    parts = (shape.model, adapter if isinstance(adapter, str) else "", request.cache_salt or "", request.tools)
    return xxh3_64_intdigest(orjson.dumps(parts))


class _Cutter:
    """Cuts a prompt into blocks as it passes by, hashing and weighing as it goes."""

    def __init__(self, seed: int, shape: Shape, identities: Identities) -> None:
        self._shape = shape
        self._identities = identities
        self._step = max(1, round(shape.block_size * shape.bytes_per_token))
        self._tokens_per_byte = shape.correction.text / shape.bytes_per_token
        self._step_tokens = max(1, round(self._step * self._tokens_per_byte))
        self._hash = seed
        self._loose_tokens = 0
        self._text_bytes = 0
        self._images: list[tuple[tuple[int, int], int]] = []
        self._other_tokens = 0
        self._texts: list[str] = []
        self._hashes: list[int] = []
        self._weights: list[int] = []

    def message(self, message: Message) -> None:
        if message.role:
            self.text(f"\x1e{message.role}\x1f")
        for part in message.parts:
            self.part(part)

    def part(self, part: Part) -> None:
        match part:
            case Text(text):
                self._texts.append(text)
            case Media():
                self._close_text()
                identity = self._identities.of(part)
                content = part.kind.encode() + (part.detail or "").encode() + identity.digest
                self._add(content, self._media_tokens(part, identity))
            case TokenIds(ids):
                self._close_text()
                rest = self._cut(_packed(ids), self._shape.block_size * _TOKEN_ID_BYTES, self._shape.block_size)
                self._loose_tokens += len(rest) // _TOKEN_ID_BYTES
                self._other_tokens += len(ids)

    def text(self, text: str) -> None:
        self._texts.append(text)

    def finish(self, batch: tuple[Part, ...]) -> Chain:
        rest = self._cut_text()
        tokens = sum(self._weights) + self._loose_tokens + self._text_tokens(len(rest))
        tokens += sum(self._batch_tokens(part) for part in batch)
        content = Content(self._text_bytes / self._shape.bytes_per_token, tuple(self._images), self._other_tokens)
        return Chain(tuple(self._hashes), tuple(self._weights), max(tokens, 1), content)

    def _close_text(self) -> None:
        rest = self._cut_text()
        if rest:
            self._add(rest, self._text_tokens(len(rest)))

    def _cut_text(self) -> bytes:
        if not self._texts:
            return b""
        content = "".join(self._texts).encode("utf-8", "surrogatepass")
        self._texts.clear()
        self._text_bytes += len(content)
        return self._cut(content, self._step, self._step_tokens)

    def _cut(self, content: bytes, step: int, tokens: int) -> bytes:
        """Adds the full blocks of `content` and returns what is left over."""
        whole = len(content) - len(content) % step
        link = self._hash
        for start in range(0, whole, step):
            link = xxh3_64_intdigest(content[start : start + step], link)
            self._hashes.append(link)
        self._weights.extend([tokens] * (whole // step))
        self._hash = link
        return content[whole:]

    def _add(self, content: bytes, tokens: int) -> None:
        self._hash = xxh3_64_intdigest(content, self._hash)
        self._hashes.append(self._hash)
        self._weights.append(tokens)

    def _text_tokens(self, size_bytes: int) -> int:
        return round(size_bytes * self._tokens_per_byte)

    def _media_tokens(self, media: Media, identity: MediaIdentity) -> int:
        estimated = media_tokens(media.kind, identity, self._shape.image_rule)
        if media.kind != "image":
            self._other_tokens += estimated
            return estimated
        size = (identity.width, identity.height)
        self._images.append((size, estimated))
        return self._shape.correction.image_tokens(size, estimated)

    def _batch_tokens(self, part: Part) -> int:
        """Tokens of a part that adds work but no prefix."""
        match part:
            case Text(text):
                self._text_bytes += len(text)
                return self._text_tokens(len(text))
            case TokenIds(ids):
                self._other_tokens += len(ids)
                return len(ids)
            case Media():
                return self._media_tokens(part, self._identities.of(part))


def _packed(ids: tuple[int, ...]) -> bytes:
    try:
        return array("q", ids).tobytes()
    except OverflowError:
        raise BadRequest("A token id is not a 64-bit integer.", param="prompt") from None
