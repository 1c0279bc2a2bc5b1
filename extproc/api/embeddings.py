"""POST /v1/embeddings: OpenAI's `input`, or vLLM's chat `messages`."""

from __future__ import annotations

from typing import Any

from .chat import read_messages
from .fields import text
from .prompts import read_prompts
from .requests import Endpoint, InferenceRequest, Message, Part


def read(fields: dict[str, Any], model: str) -> InferenceRequest:
    """An embedding body. It generates nothing, so no field of generation is read."""
    inputs: tuple[Part, ...] = ()
    if fields.get("input") is None and fields.get("messages") is not None:
        prompt = read_messages(fields)
    else:
        inputs = read_prompts(fields.get("input"), "input")
        prompt = (Message("", inputs[:1]),)
    return InferenceRequest(
        endpoint=Endpoint.EMBEDDINGS,
        model=model,
        messages=prompt,
        batch=inputs[1:],
        fields=fields,
        max_tokens=0,
        user=text(fields, "user"),
        cache_salt=text(fields, "cache_salt"),
    )
