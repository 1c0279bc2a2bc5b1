"""The one shape that every inference body becomes, whatever dialect the client speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

MediaKind = Literal["image", "audio", "video"]


class Endpoint(Enum):
    """The inference endpoints, by path."""

    CHAT_COMPLETIONS = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    RESPONSES = "/v1/responses"
    EMBEDDINGS = "/v1/embeddings"
    MESSAGES = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Text:
    """Text exactly as the client sent it; structured content (a tool call, say) as compact JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenIds:
    """A prompt that the client tokenised itself (/v1/completions and /v1/embeddings take those)."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Media:
    """One image, sound or video.

    Exactly one of `base64` and `url` is set, or neither when the client names an item that the engine already
    holds (`uuid` alone, a vLLM extension).

    Args:
        base64: the payload of a data URL or of an inline source, still encoded.
        url: a remote address; the engine fetches it, the gateway never does.
        uuid: the client's own name for the bytes.
        detail: OpenAI's `detail` of an image; it changes how many tokens some engines spend.
        param: where in the body it stands, for error messages: ``messages[0].content[1]``.
    """

    kind: MediaKind
    base64: str | None = None
    url: str | None = None
    uuid: str | None = None
    detail: str | None = None
    param: str = ""


Part = Text | TokenIds | Media


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is the client's own word; an empty role is a bare prompt, which no template wraps."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request as the gateway understands it; the body itself goes upstream untouched.

    Args:
        model: the name the client asked for, never empty.
        tools: the tool definitions as compact JSON in the client's key order; empty if there are none.
        messages: in prompt order, system first where the dialect keeps it apart (Anthropic, Responses).
        batch: prompts after the first of a batched call (/v1/completions, /v1/embeddings): work, but no prefix.
        stream: whether the reply is server-sent events.
        stream_usage: whether the client asked for the usage chunk at the end of a stream.
        max_tokens: the bound on generated tokens, if the client set one.
        n: how many answers are generated from the one prompt.
        user: the client's `user` field (or Anthropic's metadata.user_id).
        cache_salt: vLLM's `cache_salt`: prompts under different salts share no KV blocks.
        fields: the whole parsed body.
    """

    endpoint: Endpoint
    model: str
    messages: tuple[Message, ...]
    fields: Mapping[str, Any]
    tools: str = ""
    batch: tuple[Part, ...] = ()
    stream: bool = False
    stream_usage: bool = False
    max_tokens: int | None = None
    n: int = 1
    user: str | None = None
    cache_salt: str | None = None
