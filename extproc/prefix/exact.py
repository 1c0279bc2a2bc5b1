"""A prompt as the engine sees it, token by token, and the keys of its blocks.

    key[i] = xxh3(ids of block i, 32 bits each, + what else tells the block apart, seed = key[i - 1]);  key[-1] = ROOT

The keys are the gateway's own. What an engine reports of a stored block (its ids, what else it hashed, its parent) is
keyed in the same way, so neither the engine's hash algorithm nor its seed matters. 64 bits: a collision costs one
badly routed request, never a wrong answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from xxhash import xxh3_64_intdigest

ROOT = 0
"""The parent of a prompt's first block."""

ID_BYTES = 4


class Inexact(Enum):
    """Why the tokens of a prompt are not known, or not all of them. Callers count these."""

    NO_TOKENIZER = "no_tokenizer"
    """No tokenizer is configured for the model."""
    ENDPOINT = "endpoint"
    """How the engine turns this endpoint's bodies into a prompt is not followed."""
    MODEL = "model"
    """The engine renders this kind of model's chats by other means than a template."""
    FIELD = "field"
    """The request sets a field that changes the prompt in a way that is not followed."""
    TEMPLATE = "template"
    """The chat template refuses the request; the engine will, too."""
    TOO_LONG = "too_long"
    """More text than is tokenised on the way of a request."""
    AUDIO_OR_VIDEO = "audio_or_video"
    REMOTE_MEDIA = "remote_media"
    """An image behind a URL, whose bytes only the engine sees."""
    UNKNOWN_IMAGE = "unknown_image"
    """An image in a format of which the engine's name for it does not follow."""
    NEW_IMAGE = "new_image"
    """An image that was never seen, of which it is not known how many tokens it takes. No cache has it."""
    UNKNOWN_RUN = "unknown_run"
    """An image of which it is not known yet how many tokens it takes."""


@dataclass(frozen=True, slots=True)
class MediaRun:
    """The tokens that one image takes in a prompt.

    Args:
        start: index of its first token.
        length: tokens, at least 1.
        identifier: the engine's name for the content.
    """

    start: int
    length: int
    identifier: str


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Images that take equally many tokens, it is not known how many, in a prompt of which all else is known.

    Args:
        identifiers: the engine's names for their contents, one for each place.
        token: the id that their runs consist of.
        other_tokens: all of the prompt but those of these images.
    """

    identifiers: tuple[str, ...]
    token: int
    other_tokens: int

    def run(self, prompt_tokens: int) -> array[int] | None:
        """The ids of each, by how many tokens the engine counted in the prompt; None if that cannot be."""
        length, rest = divmod(prompt_tokens - self.other_tokens, len(self.identifiers))
        return array("I", [self.token]) * length if length > 0 and not rest else None


@dataclass(frozen=True, slots=True)
class ExactPrompt:
    """The token ids of a prompt and what else decides which cached blocks it may use.

    Args:
        ids: unsigned 32-bit token ids (typecode "I"). Not to be changed.
        media: in prompt order; runs do not overlap.
        lora: name of the adapter; empty without one.
        cache_salt: prompts under different salts share no block; empty without one.
        complete: whether the ids are the whole prompt. If not, they stop in front of something that the gateway
            cannot know; what is there is right.
        cut_by: what that is.
        unmeasured: the images that it stops in front of, if the engine's count of tokens will tell how long they are.
    """

    ids: array[int]
    media: tuple[MediaRun, ...] = ()
    lora: str = ""
    cache_salt: str = ""
    complete: bool = True
    cut_by: Inexact | None = field(default=None, compare=False)
    unmeasured: Unmeasured | None = field(default=None, compare=False)
    _keys: dict[int, tuple[int, ...]] = field(default_factory=dict, init=False, compare=False, repr=False)


def block_key(parent: int, ids: array[int] | bytes | memoryview, extra: bytes = b"") -> int:
    """The key of one full block.

    Args:
        parent: the key of the block before it, or `ROOT`.
        ids: its token ids, as 32-bit unsigned integers of this machine's byte order.
        extra: `extra_bytes` of the block.
    """
    if not extra:
        return xxh3_64_intdigest(ids, parent)
    return xxh3_64_intdigest(bytes(ids) + extra, parent)


def extra_bytes(extra_keys: Sequence[object] | None) -> bytes:
    """Canonical bytes of what tells a block apart besides its ids: vLLM's `extra_keys` of one block.

    In order: the adapter's name, ``[identifier, offset]`` of each image in the block (the offset counted from the
    block's first token, negative where the image began before it), and the cache salt in a prompt's first block.
    Nothing at all is no bytes.
    """
    if not extra_keys:
        return b""
    return b"".join(map(_extra, extra_keys))


def keys(prompt: ExactPrompt, block_size: int) -> tuple[int, ...]:
    """The keys of the full blocks of a prompt, in order; the partial last block has none. Made once for each size."""
    known = prompt._keys.get(block_size)
    if known is None:
        known = prompt._keys[block_size] = _made(prompt, block_size)
    return known


def _made(prompt: ExactPrompt, block_size: int) -> tuple[int, ...]:
    ids = memoryview(prompt.ids.tobytes())
    step = block_size * ID_BYTES
    whole = len(ids) - len(ids) % step
    extras = _extras(prompt, block_size)
    key, found = ROOT, []
    if not extras:
        for start in range(0, whole, step):
            key = xxh3_64_intdigest(ids[start : start + step], key)
            found.append(key)
        return tuple(found)
    for block, start in enumerate(range(0, whole, step)):
        key = block_key(key, ids[start : start + step], extras.get(block, b""))
        found.append(key)
    return tuple(found)


def may_go_on(prompt: ExactPrompt, matched_tokens: int, block_size: int | None) -> bool:
    """Whether a cache that has so many leading tokens of the prompt may have more of it than can be known here.

    Args:
        block_size: of the cache; None if not known.
    """
    if prompt.complete or prompt.cut_by is Inexact.NEW_IMAGE:
        return False
    return not block_size or len(prompt.ids) - matched_tokens < block_size


def _extras(prompt: ExactPrompt, block_size: int) -> dict[int, bytes]:
    """Extra bytes by index of block, of the blocks that have any."""
    blocks = len(prompt.ids) // block_size
    extras = dict.fromkeys(range(blocks), _text(prompt.lora)) if prompt.lora else {}
    for run in prompt.media:
        last = (run.start + run.length - 1) // block_size
        for block in range(run.start // block_size, min(last + 1, blocks)):
            extras[block] = extras.get(block, b"") + _image(run.identifier, run.start - block * block_size)
    if prompt.cache_salt and blocks:
        extras[0] = extras.get(0, b"") + _text(prompt.cache_salt)
    return extras


def _extra(key: object) -> bytes:
    match key:
        case str():
            return _text(key)
        case [str() as identifier, int() as offset]:
            return _image(identifier, offset)
    # Something newer than this code. It must at least never look like a block without it.
    return b"?" + _text(repr(key))


def _text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return b"t" + len(content).to_bytes(4, "little") + content


def _image(identifier: str, offset: int) -> bytes:
    return b"i" + offset.to_bytes(8, "little", signed=True) + _text(identifier)
