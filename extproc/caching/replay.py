"""An Answer -> the bytes of a reply, as JSON or as a stream.

A stored answer is given under the id and the time that it was born with: it is the same answer, and what a client was
told about an id stays true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .answer import Answer
from .dialects import DIALECTS
from .dialects.reply import ABOUT


def json_reply(answer: Answer, about: Mapping[str, Any]) -> bytes:
    """The blocking reply: byte for byte what is stored, with the `kvgate` object added.

    Args:
        about: ``{cache: exact|semantic, similarity?, latency_ms}``; nothing is added if it is empty.
    """
    if not about:
        return answer.body
    body = answer.body.rstrip()
    return body[:-1] + b',"' + ABOUT.encode() + b'":' + orjson.dumps(dict(about)) + b"}"


def sse_reply(answer: Answer, include_usage: bool, about: Mapping[str, Any]) -> bytes:
    """The same answer as the stream that the endpoint would send, with its texts in a few pieces.

    The `kvgate` object is where clients find fields of the reply: in the first chunk (chat and text completions), in
    the message of `message_start`, in the response of `response.completed`.

    Args:
        include_usage: whether the client asked for the usage; an answer whose usage is not known has none to tell.

    Raises:
        Unfit: of an embedding, which is never streamed.
    """
    return b"".join(DIALECTS[answer.endpoint].unfold(orjson.loads(answer.body), include_usage, about))
