"""How each endpoint replies: a stream is folded into a reply, a reply is unfolded into a stream."""

from __future__ import annotations

from extproc.api.requests import Endpoint

from .chat import Chat
from .completions import Completions
from .embeddings import Embeddings
from .messages import Messages
from .reply import Dialect
from .responses import Responses

DIALECTS: dict[Endpoint, Dialect] = {
    Endpoint.CHAT_COMPLETIONS: Chat(),
    Endpoint.COMPLETIONS: Completions(),
    Endpoint.RESPONSES: Responses(),
    Endpoint.EMBEDDINGS: Embeddings(),
    Endpoint.MESSAGES: Messages(),
}
