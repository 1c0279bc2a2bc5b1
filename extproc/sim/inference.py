"""The life of one inference request: read, check, compute, reply."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from aiohttp import web

from extproc.sim.engine_loop import Generation, Progress
from extproc.sim.errors import Refused, bad_request, malformed
from extproc.sim.faults import Fault
from extproc.sim.journal import Entry
from extproc.sim.rank import Rank
from extproc.sim.replica import Replica
from extproc.sim.reply import Body, Call, Choice, Dialect, EventStream, FinishReason, Usage, whole_number
from extproc.sim.requests import Request
from extproc.sim.template import Prompt

_MAX_CHOICES = 128
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Job:
    """A checked request, ready for the engine: one sequence and its future text for each choice."""

    rank: Rank
    call: Call
    prompts: Sequence[Prompt]
    requests: Sequence[Request]
    choices: Sequence[Choice]
    stream: EventStream | None

    def cached_tokens(self, generations: Sequence[Generation]) -> int:
        # Choices of one prompt share it: count the first of each.
        firsts = generations[:: len(self.choices) // len(self.prompts)]
        return sum(generation.cached_tokens for generation in firsts)

    def usage(self, generations: Sequence[Generation]) -> Usage:
        return Usage(
            prompt_tokens=sum(len(prompt.token_ids) for prompt in self.prompts),
            cached_tokens=self.cached_tokens(generations),
            media_tokens=sum(prompt.media_tokens for prompt in self.prompts),
            completion_tokens=sum(generation.tokens for generation in generations),
        )


class Inference:
    """Answers one endpoint."""

    def __init__(self, replica: Replica, dialect: Dialect) -> None:
        self._replica = replica
        self._dialect = dialect

    async def __call__(self, http: web.Request) -> web.StreamResponse:
        arrival_s = self._replica.clock.now()
        request_id = http.headers.get("X-Request-Id") or uuid.uuid4().hex
        journal = self._replica.journal
        entry = Entry(request_id, self._dialect.id_prefix + request_id, http.path_qs, http.headers)
        journal.open(entry, self._dialect.path)
        outcome = "aborted"
        try:
            content = await http.read()
            entry.body_sha256, entry.body_bytes = hashlib.sha256(content).hexdigest(), len(content)
            fault = self._replica.faults.claim()
            outcome = "fault"
            await _show(fault, http)
            outcome = "aborted"
            job = self._job(http, content, entry)
            if self._replica.settings.latency_s:
                await asyncio.sleep(self._replica.settings.latency_s)
            response = await self._compute(http, job, entry, fault, arrival_s)
            outcome = "served"
            return response
        except Refused as refused:
            if outcome != "fault":
                outcome = "refused"
            return _error(self._dialect, refused)
        except ConnectionError:
            # The client left, or the connection was reset on purpose: nobody reads an answer.
            return web.Response()
        finally:
            journal.close(entry, outcome)

    def _job(self, http: web.Request, content: bytes, entry: Entry) -> Job:
        """Check a request and lay out its work.

        Raises:
            Refused: with the answer the client gets.
        """
        replica, dialect = self._replica, self._dialect
        body = _parse(content)
        rank = replica.rank_of(http.headers.get("X-data-parallel-rank"))
        model = replica.model_of(body.get("model"))
        prompts = dialect.prompts(body, replica.media)
        entry.media += [item.identity for prompt in prompts for item in prompt.media]
        entry.prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        asked = dialect.max_tokens(body)
        count = (whole_number(body, "n") or 1) if asked != 0 else 1
        if count > _MAX_CHOICES:
            raise bad_request(f"n must be at most {_MAX_CHOICES}, got {count}", "n")
        call = Call(entry.id, model, int(time.time()), body)
        stream = dialect.stream(call, len(prompts) * count) if body.get("stream") else None
        lora_name = model if model in replica.settings.loras else None
        salt = body.get("cache_salt")
        salt = salt if isinstance(salt, str) else None
        reason: FinishReason = "stop" if asked is None else "length"
        requests: list[Request] = []
        choices: list[Choice] = []
        for prompt in prompts:
            tokens = replica.output_tokens(prompt, asked)
            for index in range(count):
                request, pieces = replica.sequence(prompt, index, tokens, lora_name, salt)
                requests.append(request)
                choices.append(Choice(pieces, reason))
        return Job(rank, call, prompts, requests, choices, stream)

    async def _compute(
        self, http: web.Request, job: Job, entry: Entry, fault: Fault, arrival_s: float
    ) -> web.StreamResponse:
        response = await _open_stream(http, job.stream) if job.stream else None
        progress = Progress()
        slowdown = fault.factor if fault.mode == "slow" else 1.0
        generations = job.rank.loop.submit(job.requests, progress, slowdown)
        try:
            if response is not None and job.stream is not None:
                await self._stream(http, response, job.stream, job, generations, progress, fault)
            else:
                while not all(generation.finished for generation in generations):
                    await progress.changed()
                await self._cut(http, job, fault, generations)
                response = self._whole(http, job, generations)
        finally:
            aborted = [generation for generation in generations if job.rank.loop.abort(generation)]
            self._account(entry, job, generations, arrival_s)
            if aborted:
                job.rank.metrics.finished["abort"] += len(aborted)
        return response

    def _whole(self, http: web.Request, job: Job, generations: Sequence[Generation]) -> web.Response:
        body = self._dialect.whole(job.call, job.choices, job.prompts, job.usage(generations))
        response = web.Response(body=orjson.dumps(body), headers=_JSON)
        load_format = http.headers.get("endpoint-load-metrics-format", "").upper()
        if load_format in ("JSON", "TEXT"):
            response.headers["endpoint-load-metrics"] = _load(job.rank, load_format)
        return response

    async def _stream(
        self,
        http: web.Request,
        response: web.StreamResponse,
        stream: EventStream,
        job: Job,
        generations: Sequence[Generation],
        progress: Progress,
        fault: Fault,
    ) -> None:
        sent = [0] * len(generations)
        opened = ended = 0
        cut_after = fault.cut_after_tokens
        while True:
            events: list[bytes] = []
            if not opened and any(generation.tokens for generation in generations):
                opened = 1
                events.append(stream.opening(job.usage(generations)))
            for index, generation in enumerate(generations):
                new = job.choices[index].pieces[sent[index] : generation.tokens]
                if cut_after is not None:
                    new = new[: max(0, cut_after - sum(sent))]
                events += [stream.piece(index, piece) for piece in new]
                sent[index] += len(new)
                if new and generation.finished and sent[index] == generation.tokens:
                    events.append(stream.ending(index, job.choices[index]))
                    ended += 1
            cut = cut_after is not None and sum(sent) >= cut_after
            if ended == len(generations) and not cut:
                events.append(stream.closing(job.usage(generations)))
            if events:
                await response.write(b"".join(events))
            if cut:
                await self._cut(http, job, fault, generations)
            if ended == len(generations):
                await response.write_eof()
                return
            await progress.changed()

    async def _cut(self, http: web.Request, job: Job, fault: Fault, generations: Sequence[Generation]) -> None:
        """End the connection or the process, if that is the fault."""
        if fault.cut_after_tokens is None:
            return
        for generation in generations:
            job.rank.loop.abort(generation)
        # What was written leaves for the socket at the end of the event loop's turn.
        await asyncio.sleep(0)
        if fault.mode == "die":
            self._replica.faults.die()
        _reset(http)
        raise ConnectionResetError

    def _account(self, entry: Entry, job: Job, generations: Sequence[Generation], arrival_s: float) -> None:
        entry.cached_tokens = job.cached_tokens(generations)
        entry.completion_tokens = sum(generation.tokens for generation in generations)
        metrics = job.rank.metrics
        for generation, choice in zip(generations, job.choices, strict=True):
            if generation.first_token_s is not None:
                metrics.ttft_s.observe(generation.first_token_s - arrival_s)
            if generation.finished:
                metrics.finished[choice.finish_reason] += 1


def _load(rank: Rank, load_format: str) -> str:
    stats = rank.engine.stats
    load = {"kv_cache_usage_perc": stats.kv_usage, "num_requests_waiting": float(stats.waiting)}
    if load_format == "TEXT":
        return "TEXT " + ", ".join(f"named_metrics.{name}={value}" for name, value in load.items())
    return "JSON " + orjson.dumps({"named_metrics": load}).decode()


def _parse(content: bytes) -> Body:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise malformed(f"JSON decode error: {error}") from error
    if not isinstance(body, Mapping):
        raise malformed("the body must be a JSON object")
    return body


async def _open_stream(http: web.Request, stream: EventStream) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(http)
    preamble = stream.preamble()
    if preamble:
        await response.write(preamble)
    return response


async def _show(fault: Fault, http: web.Request) -> None:
    """Show the faults that keep a request from being computed."""
    match fault.mode:
        case "hang":
            await asyncio.get_running_loop().create_future()
        case "refuse":
            if http.transport is not None:
                http.transport.close()
            raise ConnectionResetError
        case "error":
            phrase = HTTPStatus(fault.status).phrase
            raise Refused(fault.status, phrase.replace(" ", "") + "Error", f"{phrase} (simulated)")
        case _:
            return


def _reset(http: web.Request) -> None:
    """Close with RST, as a crashed peer's kernel does."""
    if http.transport is None:
        return
    raw = http.transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http.transport.abort()


def _error(dialect: Dialect, refused: Refused) -> web.Response:
    body = refused.anthropic() if dialect.path == "/v1/messages" else refused.openai()
    return web.Response(status=refused.status, body=orjson.dumps(body), headers=_JSON)
