"""A reply that passes by -> an Answer, if it is one worth keeping."""

from __future__ import annotations

import time

import orjson

from extproc.api.requests import Endpoint

from .answer import Answer, read_usage
from .dialects import DIALECTS
from .dialects.reply import ABOUT, Fold, Json, Unfit, refuse_error
from .sse import EventReader

MAX_ANSWER_BYTES = 1 << 20

_NOT_UNDERSTOOD = (Unfit, TypeError, ValueError, KeyError, AttributeError, IndexError)
"""A reply is an engine's JSON: any field may be of another type than the dialect says, and then it is not kept."""


class Collector:
    """Takes in the body of a 200 reply, chunk by chunk, cut anywhere; nothing of it is held once it cannot be kept.

    Kept is only what is complete: every choice came to its end, a stream to its last event, no error, arguments of
    tool calls that are JSON.

    Args:
        stream: whether the body is server-sent events.
        choices: how many answers (or embeddings) the request wants.
        max_answer_bytes: a larger reply is given up.
    """

    def __init__(
        self, endpoint: Endpoint, stream: bool, *, choices: int = 1, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._endpoint = endpoint
        self._dialect = DIALECTS[endpoint]
        self._choices = choices
        self._max_answer_bytes = max_answer_bytes
        self._events: EventReader | None = EventReader() if stream else None
        self._fold: Fold | None = None
        self._chunks: list[bytes] = []
        self._held_bytes = 0
        self.given_up: str | None = None
        """Why nothing will come of it, once that is known; holds nothing of the reply."""

    def feed(self, chunk: bytes) -> None:
        """The next bytes, with no content-encoding."""
        if self.given_up is not None:
            return
        try:
            self._feed(chunk)
            if self._held_bytes > self._max_answer_bytes:
                raise Unfit("too large")
        except _NOT_UNDERSTOOD as error:
            self._give_up(error)

    def finish(self, created_s: float | None = None) -> Answer | None:
        """The answer, after the last chunk; None if it is not to be kept (`given_up` says why).

        Args:
            created_s: Unix time; now, if left out.
        """
        if self.given_up is not None:
            return None
        try:
            reply, body = self._reply()
            if len(body) > self._max_answer_bytes:
                raise Unfit("too large")
            self._dialect.check(reply, self._choices)
            if self._endpoint is not Endpoint.EMBEDDINGS:
                for _ in self._dialect.unfold(reply, True, {}):
                    pass  # what cannot be told again as a stream is not kept
        except _NOT_UNDERSTOOD as error:
            self._give_up(error)
            return None
        return Answer(self._endpoint, body, time.time() if created_s is None else created_s, read_usage(reply))

    def _feed(self, chunk: bytes) -> None:
        if self._events is None:
            self._chunks.append(chunk)
            self._held_bytes += len(chunk)
            return
        if self._fold is None:
            self._fold = self._dialect.fold()
        for data in self._events.feed(chunk):
            self._fold.take(data)
        self._held_bytes = self._events.held_bytes + self._fold.held_bytes

    def _reply(self) -> tuple[Json, bytes]:
        if self._events is not None:
            if self._fold is None:
                raise Unfit("the stream is empty")
            folded = self._fold.reply()
            return folded, orjson.dumps(folded)
        body = b"".join(self._chunks)
        try:
            reply = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Unfit("the reply is not JSON") from None
        if type(reply) is not dict:
            raise Unfit("the reply is no object")
        refuse_error(reply)
        if reply.pop(ABOUT, None) is not None:  # of a gateway behind this one
            body = orjson.dumps(reply)
        return reply, body

    def _give_up(self, error: Exception) -> None:
        self.given_up = str(error) if isinstance(error, Unfit) else "of an unknown shape"
        self._events = self._fold = None
        self._chunks = []
