"""Vectors from a /v1/embeddings endpoint, of the fleet itself or of anyone who speaks OpenAI's API."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import orjson

from . import Vector, normalised

log = logging.getLogger(__name__)


class OpenAICompatibleEmbedder:
    """POST {base_url}/v1/embeddings. While it fails there is no semantic look-up; the log says so once.

    Args:
        base_url: with or without the final ``/v1``.
        api_key: sent as a bearer token; never logged.
        timeout_s: for one vector; a request waits no longer for it.
    """

    knows_synonyms = True

    def __init__(self, base_url: str, model: str, *, api_key: str | None = None, timeout_s: float = 1.0) -> None:
        base = base_url.rstrip("/")
        self._url = f"{base}/embeddings" if base.endswith("/v1") else f"{base}/v1/embeddings"
        self._model = model
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._failing = False
        self.failures = 0
        self.dims = 0
        self.name = f"openai:{model}"

    async def embed(self, text: str) -> Vector | None:
        try:
            vector = await self._ask(text)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError, LookupError, TypeError) as error:
            self._failed(type(error).__name__)
            return None
        if vector is None:
            self._failed("no vector in the reply")
            return None
        if self._failing:
            self._failing = False
            log.warning("The embedding endpoint answers again")
        self.dims = len(vector)
        return vector

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, text: str) -> Vector | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        body = orjson.dumps({"model": self._model, "input": text, "encoding_format": "float"})
        async with self._session.post(self._url, data=body, allow_redirects=False) as reply:
            if reply.status != 200:
                raise ValueError(f"status {reply.status}")
            content = await reply.read()
        return normalised(orjson.loads(content)["data"][0]["embedding"])

    def _failed(self, why: str) -> None:
        self.failures += 1
        if not self._failing:
            self._failing = True
            log.warning("The embedding endpoint fails (%s); no semantic look-ups until it answers", why)
