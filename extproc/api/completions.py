"""POST /v1/completions, as OpenAI and vLLM define it."""

from __future__ import annotations

from typing import Any

from .fields import answers, count, flag, text, usage_chunk, wrong_type
from .prompts import read_prompts
from .requests import Endpoint, InferenceRequest, Message, Part, Text


def read(fields: dict[str, Any], model: str) -> InferenceRequest:
    """A completion body. vLLM's `prompt_embeds` (tensors in base64) go before the prompts, as in the engine."""
    prompts = _read_embeds(fields.get("prompt_embeds"))
    prompt = fields.get("prompt")
    if prompt is not None or not prompts:
        prompts += read_prompts(prompt, "prompt")
    return InferenceRequest(
        endpoint=Endpoint.COMPLETIONS,
        model=model,
        messages=(Message("", prompts[:1]),),
        batch=prompts[1:],
        fields=fields,
        stream=flag(fields, "stream"),
        stream_usage=usage_chunk(fields),
        max_tokens=count(fields, "max_tokens", 0),
        n=answers(fields),
        user=text(fields, "user"),
        cache_salt=text(fields, "cache_salt"),
    )


def _read_embeds(value: Any) -> tuple[Part, ...]:
    if value is None:
        return ()
    if type(value) is str:
        return (Text(value),)
    if type(value) is list and set(map(type, value)) <= {str}:
        return tuple(map(Text, value))
    raise wrong_type("prompt_embeds", "a base64 string or a list of them", value)
