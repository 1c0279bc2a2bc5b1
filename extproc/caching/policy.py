"""Which requests may be answered from a cache, and whose answers may be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from extproc.api.requests import Endpoint, InferenceRequest, Media

from .directives import Directives

Mode = Literal["deterministic", "all"]
Why = Literal["no_store", "sampled", "unseen_media", "engine_state", "server_tools"]

_HAVE_SEED = (Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS)
_SEED_IS_NONE = -1  # vLLM reads this seed as no seed
_STATE = ("previous_response_id", "conversation", "background", "prompt", "container", "kv_transfer_params")
_SERVER_TOOLS = ("mcp_servers", "web_search_options")
_CLIENT_TOOL_TYPES = (None, "function", "custom")
_FILE_PARTS = ("input_file", "file")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done for one request.

    Args:
        use: a stored answer may be given.
        keep: the answer may be stored.
        why_not: the reason when neither; for metrics and the `x-kvgate-cache: bypass` header's reader.
        max_age_s: stored answers may be at most so old.
    """

    use: bool
    keep: bool
    why_not: Why | None = None
    max_age_s: float | None = None


def judge(request: InferenceRequest, directives: Directives, mode: Mode = "deterministic") -> Verdict:
    """Whether a request may be looked up and its answer stored.

    By default only what the engine would answer again in the same way: temperature 0, a seed, embeddings. With mode
    `all` every request; with the client's `force`, this one. Media behind URLs or names are not seen here, so that
    what they hold may change: they need `force`. What touches state that the engine or a tool keeps is never cached.
    """
    why_not = _obstacle(request, directives, mode)
    if why_not is not None:
        return Verdict(use=False, keep=False, why_not=why_not)
    return Verdict(use=not directives.no_cache, keep=True, max_age_s=directives.max_age_s)


def _obstacle(request: InferenceRequest, directives: Directives, mode: Mode) -> Why | None:
    if directives.no_store:
        return "no_store"
    if _touches_state(request):
        return "engine_state"
    if _runs_tools(request):
        return "server_tools"
    if directives.force:
        return None
    if _has_unseen_media(request):
        return "unseen_media"
    if mode == "deterministic" and not is_deterministic(request):
        return "sampled"
    return None


def is_deterministic(request: InferenceRequest) -> bool:
    """Whether the engine itself would give the same answer again."""
    if request.endpoint is Endpoint.EMBEDDINGS:
        return True
    temperature, seed = request.fields.get("temperature"), request.fields.get("seed")
    if type(temperature) in (int, float) and temperature == 0:
        return True
    return request.endpoint in _HAVE_SEED and type(seed) is int and seed != _SEED_IS_NONE


def _touches_state(request: InferenceRequest) -> bool:
    fields = request.fields
    if request.endpoint is Endpoint.COMPLETIONS:
        return bool(fields.get("kv_transfer_params"))
    if any(fields.get(name) for name in _STATE):
        return True
    if request.endpoint is not Endpoint.RESPONSES:
        return False
    # Without `store` an answer is replayed under the id that the engine knows it by, so a later turn still finds it.
    items = fields.get("input")
    references = isinstance(items, list) and any(
        isinstance(item, dict) and item.get("type") == "item_reference" for item in items
    )
    return fields.get("store") is True or references


def _runs_tools(request: InferenceRequest) -> bool:
    """Whether the engine would run a tool; those of a function's type are run by the client."""
    if any(request.fields.get(name) for name in _SERVER_TOOLS):
        return True
    tools = request.fields.get("tools")
    if not isinstance(tools, list):
        return False
    return any(not isinstance(tool, dict) or tool.get("type") not in _CLIENT_TOOL_TYPES for tool in tools)


def _has_unseen_media(request: InferenceRequest) -> bool:
    # A uuid counts even beside bytes: the engine takes it for the bytes' identity without looking.
    media = (part for message in request.messages for part in message.parts if isinstance(part, Media))
    if any(medium.base64 is None or medium.uuid is not None for medium in media):
        return True
    return any(_names_a_file(part) for part in _raw_parts(request))


def _raw_parts(request: InferenceRequest) -> Iterator[Any]:
    for name in ("messages", "input"):
        turns = request.fields.get(name)
        for turn in turns if isinstance(turns, list) else ():
            if isinstance(turn, dict):
                for held in ("content", "output"):
                    content = turn.get(held)
                    yield from content if isinstance(content, list) else ()


def _names_a_file(part: Any) -> bool:
    if not isinstance(part, dict) or part.get("type") not in _FILE_PARTS:
        return False
    inner = part.get("file")
    holders = (part, inner) if isinstance(inner, dict) else (part,)
    return any(holder.get("file_id") or holder.get("file_url") for holder in holders)
