"""Answers to questions that mean the same, within one tenant, model, system prompt, history and set of parameters."""

from .cache import Asked, Found, SemanticCache, SemanticSettings, SemanticStats
from .embedders import Embedder
from .embedders.hashing import HashingEmbedder
from .embedders.openai_compatible import OpenAICompatibleEmbedder
from .embedders.sentence_transformers import NotInstalled, SentenceTransformersEmbedder
from .entries import Entries
from .memory import MemoryEntries
from .redis_entries import RedisEntries

__all__ = [
    "Asked",
    "Embedder",
    "Entries",
    "Found",
    "HashingEmbedder",
    "MemoryEntries",
    "NotInstalled",
    "OpenAICompatibleEmbedder",
    "RedisEntries",
    "SemanticCache",
    "SemanticSettings",
    "SemanticStats",
    "SentenceTransformersEmbedder",
]
