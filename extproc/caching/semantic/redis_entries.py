"""Entries in Redis, shared by instances.

Keys, under a prefix and the version of this layout (``semantic:v2:``), with <place> for ``<flushes>_<flushes of the
holder>_<scope>``: ``entry:<place>:<key>`` a hash with all of an entry, and its own expiry; ``place:<place>`` with
``v``, a number that grows with each change; ``place:<place>:live`` and ``:dropped`` when each entry changed last or
went, as a ``v``; ``used`` and ``until`` when each entry of all places was used and expires. The numbers of flushes are
those of the exact cache: one flush forgets both.

A look-up is one round trip for the answer. For what is close, a Redis with RediSearch is asked in a second one. With
any other, each instance keeps a copy of the places it looks into: the first round trip tells whether it is up to date,
and if not, another one brings what changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from extproc.redis_link import RedisLink, StoreDown

from . import lua
from .bound import Observation
from .copies import Copies, Seen
from .embedders import Vector
from .entries import Entry, Near, Place
from .records import MOST_LEARNED_BYTES, Scripts, packed_observation, packed_vector, packed_words, short
from .redisearch import RediSearch


class RedisEntries:
    """Entries that every instance finds. The least recently used of all makes room.

    Args:
        prefix: of all keys, as the exact cache has it.
        max_entries: over all places, in Redis and in the copy here.
        search: False leaves vector search by the server alone, for comparison.
    """

    def __init__(
        self, link: RedisLink, *, prefix: str = "kvgate:", max_entries: int = 2000, search: bool = True
    ) -> None:
        self._link = link
        self._prefix = prefix.encode()
        self._max_entries = max_entries
        self._scripts = Scripts(link, prefix)
        self._search = RediSearch(link, prefix) if search else None
        self._copies = Copies(self._scripts, max_entries)
        self._places: OrderedDict[bytes, Seen] = OrderedDict()

    @property
    def copied(self) -> int:
        """Entries that stand here, too: none where Redis searches them."""
        return len(self._copies)

    async def answer(self, place: Place, key: bytes) -> bytes | None:
        try:
            name, version, answer = await self._scripts.run(lua.ANSWER, place, _name(key))
        except StoreDown:
            self._places.pop(place.scope, None)
            return None
        self._places[place.scope] = Seen(name, int(version))
        self._places.move_to_end(place.scope)
        while len(self._places) > self._max_entries:
            self._places.popitem(last=False)
        if answer is None:
            self._copies.drop(name, key)
        return bytes(answer) if answer is not None else None

    async def nearest(self, place: Place, vector: Vector, count: int) -> Sequence[Near]:
        seen = self._places.get(place.scope)
        if seen is None:
            return ()
        try:
            found = await self._search.nearest(seen.name, vector, count) if self._search else None
            if found is None:
                return await self._copies.nearest(place, seen, vector, count)
        except StoreDown:
            return ()
        self._copies.clear()
        return found

    async def put(self, place: Place, entry: Entry, answer: bytes, ttl_s: float) -> None:
        dims, vector = (0, b"") if entry.vector is None else (len(entry.vector), packed_vector(entry.vector))
        held = (_name(entry.key), packed_words(entry.question), dims, vector, answer)
        try:
            await self._scripts.run(lua.PUT, place, *held, max(1, round(ttl_s * 1000)), self._max_entries)
        except StoreDown:
            return

    async def observe(self, place: Place, key: bytes, seen: Observation) -> None:
        try:
            await self._scripts.run(lua.OBSERVE, place, _name(key), packed_observation(seen), MOST_LEARNED_BYTES)
        except StoreDown:
            return

    async def flush(self, holder: str | None) -> None:
        name = b"flushes" if holder is None else b"flushes:" + short(holder)
        await self._link.run(lambda redis: redis.incr(self._prefix + name))


def _name(key: bytes) -> bytes:
    return key.hex().encode()
