"""Holds the conversations, a few at a time, and notes what came of each request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.affinity.workload import MODEL, Conversation
from bench.common.chat import ask

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One request.

    Args:
        conversation: its image.
        turn: 0 is the first.
        replica: that served, as `x-kvgate-replica` says.
        ttft_s: from sending to the first chunk with content; nan if there was none.
        prompt_tokens: as the engine counted them.
        cached_tokens: of those, found in the engine's cache.
        predicted_tokens: what the gateway expected to be cached.
        failure: why there is no answer; empty if there is one.
    """

    conversation: int
    turn: int
    replica: str = ""
    ttft_s: float = float("nan")
    prompt_tokens: int = 0
    cached_tokens: int = 0
    predicted_tokens: int = 0
    failure: str = ""


async def hold(
    url: str, talks: Sequence[Conversation], *, concurrency: int, max_tokens: int, think_s: float
) -> list[Turn]:
    """All turns of all conversations; each of `concurrency` workers takes the next one and holds it to its end.

    Args:
        think_s: the longest that a user thinks between two turns; without it all conversations move in step, which
            makes round robin look better than it is.
    """
    waiting = iter(talks)
    done: list[Turn] = []
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(_TIMEOUT_S)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as http:

        async def work() -> None:
            for talk in waiting:
                await _hold_one(http, talk, done, max_tokens, think_s)

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return done


async def _hold_one(
    http: aiohttp.ClientSession, talk: Conversation, done: list[Turn], max_tokens: int, think_s: float
) -> None:
    messages: list[dict[str, Any]] = []
    thought = random.Random(talk.number)
    for number in range(len(talk.questions)):
        if number:
            await asyncio.sleep(thought.uniform(0, think_s))
        messages.append(talk.question(number) if number else talk.opening())
        turn, answer = await _ask(http, talk.number, number, messages, max_tokens)
        done.append(turn)
        if turn.failure:
            return
        messages.append({"role": "assistant", "content": answer})


async def _ask(
    http: aiohttp.ClientSession, conversation: int, number: int, messages: list[dict[str, Any]], max_tokens: int
) -> tuple[Turn, str]:
    body = {"model": MODEL, "messages": messages, "max_tokens": max_tokens, "seed": conversation}
    reply = await ask(http, body)
    if reply.failure:
        return Turn(conversation, number, failure=reply.failure), ""
    if not reply.text or not reply.replica:
        return Turn(conversation, number, failure="the answer has no content or no x-kvgate-replica"), ""
    counts = (reply.prompt_tokens, reply.cached_tokens, reply.predicted_tokens)
    return Turn(conversation, number, reply.replica, reply.first_text_s, *counts), reply.text
