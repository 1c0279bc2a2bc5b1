"""Where vectors come from, and what happens when none come."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from aiohttp import web

from extproc.caching.semantic import (
    HashingEmbedder,
    NotInstalled,
    OpenAICompatibleEmbedder,
    SentenceTransformersEmbedder,
)
from tests.ports import free_port

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def served(handle: Handle) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_post("/v1/embeddings", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{port}"


async def test_hashed_vectors_tell_like_from_unlike() -> None:
    embedder = HashingEmbedder()
    one, near, far = [
        await embedder.embed(text)
        for text in ("how to sort a list in python", "how to sort lists in python", "who was the king of spain")
    ]
    assert one is not None and near is not None and far is not None
    assert one.dtype == np.float32 and len(one) == embedder.dims
    assert float(one @ one) == pytest.approx(1.0)
    assert float(one @ near) > 0.7 > 0.3 > float(one @ far)
    assert await embedder.embed("") is None


async def test_an_endpoint_gives_normalised_vectors_and_gets_the_key() -> None:
    asked = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.headers["authorization"], await request.json()))
        return web.json_response({"data": [{"embedding": [3.0, 4.0]}]})

    runner, url = await served(handle)
    embedder = OpenAICompatibleEmbedder(url, "small", api_key="secret")
    vector = await embedder.embed("hello")
    assert vector is not None and vector.tolist() == pytest.approx([0.6, 0.8]) and embedder.dims == 2
    assert asked == [("Bearer secret", {"model": "small", "input": "hello", "encoding_format": "float"})]
    await embedder.close()
    await runner.cleanup()


async def test_a_failing_endpoint_is_told_of_once_and_finds_its_way_back(caplog: pytest.LogCaptureFixture) -> None:
    bodies = [b"no JSON", b"{}", b'{"data": [{"embedding": "x"}]}', b'{"data": [{"embedding": [0, 0]}]}']
    replies = [web.Response(status=500), *[web.Response(body=each) for each in bodies]]
    replies.append(web.json_response({"data": [{"embedding": [1.0]}]}))

    async def handle(request: web.Request) -> web.Response:
        return replies.pop(0)

    runner, url = await served(handle)
    embedder = OpenAICompatibleEmbedder(f"{url}/v1", "small", api_key="secret")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert await embedder.embed("a private prompt") is None
        assert await embedder.embed("a private prompt") is not None
    assert embedder.failures == 5
    assert len(caplog.records) == 2
    assert "private" not in caplog.text and "secret" not in caplog.text
    await embedder.close()
    await runner.cleanup()


async def test_an_endpoint_that_is_gone_costs_no_request() -> None:
    embedder = OpenAICompatibleEmbedder(f"http://127.0.0.1:{free_port()}", "small")
    assert await embedder.embed("hello") is None
    await embedder.close()


def test_a_missing_library_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(NotInstalled, match=r"pip install 'kvgate\[embeddings\]'"):
        SentenceTransformersEmbedder()
