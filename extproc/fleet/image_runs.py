"""The token runs of images, as KV events show them.

A block's extra keys name each image in it and where the image begins, counted from the block's first token. Where it
ends they do not say: it does where the placeholder id stops, or where the next block no longer names it. Runs of one
id alone can be told so; those of mixed ids, and those whose end is not among the blocks at hand, are left unlearned.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from extproc.fleet.kv_events import BlocksStored


def image_runs(stored: BlocksStored) -> Iterator[tuple[str, array[int]]]:
    """Identifier and ids of every image that ends within these blocks."""
    extras, size, ids = stored.extra_keys or (), stored.block_size, stored.token_ids
    for block, extra in enumerate(extras):
        if not extra:
            continue
        images = _images(extra)
        last = block + 1 == len(extras)
        continued = () if last else _images(extras[block + 1] or ())
        for number, (identifier, offset) in enumerate(images):
            if (identifier, offset - size) in continued:
                continue
            limit = images[number + 1][1] if number + 1 < len(images) else size
            start = block * size + offset
            if offset >= size:
                continue
            end = _end_of_run(ids, max(start, block * size), block * size + limit)
            open_ended = last and limit == size and end == block * size + size
            run = array("I", [ids[end - 1]]) * (end - start)
            if not open_ended and ids[max(start, 0) : end] == run[max(0, -start) :]:
                yield identifier, run


def images_of_block(ids: array[int], extra: Sequence[object]) -> Iterator[tuple[str, int, int]]:
    """Identifier, offset and end of each image in one block, as far as it reaches; all from the block's first token."""
    images = _images(extra)
    for number, (identifier, offset) in enumerate(images):
        limit = images[number + 1][1] if number + 1 < len(images) else len(ids)
        if offset < len(ids):
            yield identifier, offset, _end_of_run(ids, max(offset, 0), limit)


def _images(extra: Sequence[object]) -> tuple[tuple[str, int], ...]:
    """(identifier, offset) of each image among a block's extra keys, but for those that make no sense."""
    pairs = (key for key in extra if isinstance(key, list | tuple) and len(key) == 2)
    return tuple(
        (name, at) for name, at in pairs if isinstance(name, str) and isinstance(at, int) and -_FAR < at < _FAR
    )


_FAR = 1 << 20
"""Tokens; no image is as long."""


def _end_of_run(ids: array[int], start: int, limit: int) -> int:
    """Where the run of the id at `start` ends."""
    at = start + 1
    while at < limit and ids[at] == ids[start]:
        at += 1
    return at
