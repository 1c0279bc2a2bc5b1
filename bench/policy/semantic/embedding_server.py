"""A sentence model in ONNX behind /v1/embeddings, so that the bench can measure a real one without a fleet.

    python bench/policy/semantic/embedding_server.py --model model.onnx --tokenizer tokenizer.json --port 8765

Needs aiohttp, onnxruntime and tokenizers, which the project itself does not; run it from a Python that has them.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import onnxruntime
from aiohttp import web
from tokenizers import Tokenizer


class Model:
    """Mean of the last hidden states, on one thread."""

    def __init__(self, model: str, tokenizer: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options)
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._tokenizer.enable_truncation(256)
        self._tokenizer.no_padding()

    def vector(self, text: str) -> list[float]:
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        states = self._session.run(None, {name: value for name, value in fed.items() if name in self._inputs})[0]
        mean = states[0].mean(axis=0)
        values: list[float] = (mean / np.linalg.norm(mean)).tolist()
        return values


def application(model: Model) -> web.Application:
    async def embeddings(request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [{"object": "embedding", "index": at, "embedding": model.vector(text)} for at, text in enumerate(texts)]
        return web.json_response({"object": "list", "data": data, "model": body.get("model")})

    app = web.Application()
    app.router.add_post("/v1/embeddings", embeddings)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="A sentence model in ONNX behind /v1/embeddings.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    web.run_app(application(Model(arguments.model, arguments.tokenizer)), host="127.0.0.1", port=arguments.port)


if __name__ == "__main__":
    main()
