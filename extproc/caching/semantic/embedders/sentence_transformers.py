"""Vectors from a model in this process: the extra ``kvgate[embeddings]``."""

from __future__ import annotations

import asyncio
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import Vector, normalised

log = logging.getLogger(__name__)


class NotInstalled(ValueError):
    """The library behind an embedder is not there. The text says how to get it."""


class SentenceTransformersEmbedder:
    """A sentence-transformers model, run by one thread beside the event loop.

    Args:
        model: as the library takes it: a name on the Hugging Face hub or a folder.

    Raises:
        NotInstalled: sentence-transformers cannot be imported.
    """

    knows_synonyms = True

    def __init__(self, model: str = "all-MiniLM-L6-v2") -> None:
        try:
            library: Any = importlib.import_module("sentence_transformers")
        except ImportError:
            raise NotInstalled(
                "cache.semantic.embedder: sentence_transformers needs the extra: pip install 'kvgate[embeddings]'"
            ) from None
        self._model: Any = library.SentenceTransformer(model)
        self._thread = ThreadPoolExecutor(1, "embedder")
        self._failing = False
        self.failures = 0
        self.name = f"sentence_transformers:{model}"
        dimension = getattr(self._model, "get_embedding_dimension", None)  # its newer name
        self.dims = int((dimension or self._model.get_sentence_embedding_dimension)() or 0)

    async def embed(self, text: str) -> Vector | None:
        try:
            values = await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, text)
        except Exception as error:  # a model may fail in any way; that costs the look-up, not the request
            self.failures += 1
            if not self._failing:
                self._failing = True
                log.warning("The embedding model fails (%s); no semantic look-ups until it works", type(error).__name__)
            return None
        self._failing = False
        return normalised(values)

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, text: str) -> object:
        return self._model.encode(text, show_progress_bar=False)
