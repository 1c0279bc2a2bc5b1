"""An entry as Redis holds it: a hash with the words of the question, the vector, and what was learned."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from blake3 import blake3

from extproc.redis_link import RedisLink

from .bound import MAX_OBSERVATIONS, Observation
from .embedders import Vector
from .entries import Entry, Place

_OBSERVATION = struct.Struct("<fB")

MOST_LEARNED_BYTES = MAX_OBSERVATIONS * _OBSERVATION.size


def packed_words(question: str) -> bytes:
    return question.encode("utf-8", "surrogatepass")


def packed_vector(vector: Vector) -> bytes:
    """As RediSearch wants it, too."""
    return vector.astype("<f4").tobytes()


def packed_observation(seen: Observation) -> bytes:
    return _OBSERVATION.pack(seen.similarity, seen.same)


def entry_of(key: bytes, question: bytes, vector: bytes | None, learned: bytes | None) -> Entry | None:
    """The entry; None if the hash holds something else.

    Args:
        key: 64 hexadecimal digits.
    """
    try:
        seen = _OBSERVATION.iter_unpack(learned or b"")
        return Entry(
            bytes.fromhex(key.decode()),
            question.decode("utf-8", "surrogatepass"),
            np.frombuffer(vector, "<f4").astype(np.float32) if vector else None,
            tuple([Observation(similarity, bool(same)) for similarity, same in seen]),
        )
    except (ValueError, struct.error):
        return None


def short(holder: str) -> bytes:
    """A holder's name in keys."""
    return blake3(packed_words(holder)).hexdigest()[:32].encode()


class Scripts:
    """Runs the scripts of `lua`."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix.encode()

    async def run(self, script: str, place: Place, *arguments: bytes | int) -> Any:
        """What the script returns.

        Raises:
            StoreDown: Redis cannot be asked.
        """
        names = (self._prefix, short(place.holder), place.scope.hex().encode())
        return await self._link.run(lambda redis: redis.eval(script, 0, *names, *arguments))
