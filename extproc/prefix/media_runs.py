"""Which tokens an image takes in a prompt: learned from what engines report, never computed.

An engine reports the ids of what it stored, so the run of an image that was stored anywhere is known by the image's
identifier. How many tokens an image takes follows from its size in all model families that vLLM serves, so an image
never seen before is given the run of others of that size and model, as long as those agree.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from dataclasses import dataclass

_Size = tuple[int, int]

_AGREEING = 4
"""After two images of a size were seen to differ, so many in a row must agree before the size is believed again: an
engine that came back with other settings is learned anew, a size that really decides nothing is never believed."""


@dataclass(slots=True)
class _SizeRun:
    ids: array[int]
    doubts: int = 0


class MediaRuns:
    """What is known of images' runs.

    Args:
        max_images: identifiers remembered; the one used longest ago is forgotten first. Some 400 bytes each.
        max_sizes: sizes remembered, over all models, likewise. Runs that are equal are held once.
        max_run_tokens: a longer run is not learned.
    """

    def __init__(self, max_images: int = 65_536, max_sizes: int = 4_096, max_run_tokens: int = 65_536) -> None:
        self._max_images = max_images
        self._max_sizes = max_sizes
        self._max_run_tokens = max_run_tokens
        self._runs: OrderedDict[str, array[int]] = OrderedDict()
        self._seen: OrderedDict[str, tuple[str, _Size]] = OrderedDict()
        self._sizes: OrderedDict[tuple[str, _Size], _SizeRun] = OrderedDict()
        self._shared: dict[bytes, tuple[array[int], int]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def learn(self, identifier: str, length: int, ids: array[int]) -> None:
        """An engine stored this image, whole, as these ids. What it says last is believed.

        Args:
            length: tokens, as many as `ids` has; otherwise nothing is learned.
        """
        if length != len(ids) or not 0 < length <= self._max_run_tokens:
            return
        known = self._runs.get(identifier)
        if known == ids:
            self._runs.move_to_end(identifier)
            return
        if known is not None:
            self._forget(identifier)
        run = self._runs[identifier] = self._share(ids)
        if len(self._runs) > self._max_images:
            self._forget(next(iter(self._runs)))
        where = self._seen.get(identifier)
        if where is not None:
            self._learn_size(where, run)

    def is_new(self, identifier: str, size: tuple[int, int]) -> bool:
        """Whether neither a request nor an engine has brought this image; False if its size is unknown."""
        return 0 not in size and identifier not in self._runs and identifier not in self._seen

    def saw(self, identifier: str, size: tuple[int, int], model: str) -> None:
        """A request brought this image, (width, height) in pixels, for this model; (0, 0) if its size is unknown."""
        if 0 in size:
            return
        where = (model, size)
        known = self._seen.get(identifier)
        self._seen[identifier] = where
        self._seen.move_to_end(identifier)
        if len(self._seen) > self._max_images:
            self._seen.popitem(last=False)
        run = self._runs.get(identifier)
        if known != where and run is not None:
            self._learn_size(where, run)

    def length(self, identifier: str, size: tuple[int, int], model: str) -> array[int] | None:
        """The ids of the image's run: its own, else that of other images of its size and model, else None."""
        run = self._runs.get(identifier)
        if run is not None:
            self._runs.move_to_end(identifier)
            return run
        by_size = self._sizes.get((model, size))
        if by_size is None or by_size.doubts:
            return None
        self._sizes.move_to_end((model, size))
        return by_size.ids

    def _learn_size(self, where: tuple[str, _Size], run: array[int]) -> None:
        known = self._sizes.get(where)
        if known is None:
            self._sizes[where] = _SizeRun(run)
            if len(self._sizes) > self._max_sizes:
                self._sizes.popitem(last=False)
        elif known.ids == run:
            known.doubts = max(0, known.doubts - 1)
        else:
            known.ids, known.doubts = run, _AGREEING
        self._sizes.move_to_end(where)

    def _share(self, ids: array[int]) -> array[int]:
        content = ids.tobytes()
        run, users = self._shared.get(content, (ids, 0))
        self._shared[content] = run, users + 1
        return run

    def _forget(self, identifier: str) -> None:
        content = self._runs.pop(identifier).tobytes()
        run, users = self._shared[content]
        if users > 1:
            self._shared[content] = run, users - 1
        else:
            del self._shared[content]
