"""Images in a prompt: where they stand, what the engine calls them, and how many tokens they take."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from extproc.api.requests import Media
from extproc.prefix.engine_identity import identifier
from extproc.prefix.exact import Inexact, MediaRun, Unmeasured
from extproc.prefix.media import Identities
from extproc.prefix.media_runs import MediaRuns


class PlacedImages:
    """A prompt in which each image's token was replaced by the image's run.

    Args:
        engine_model: what the engine was given as its model.
        engine_uuid: what the gateway writes for a uuid without data; None: uuids go to the engine as they are.

    Attributes:
        ids: up to the first image that is not known.
        cut_by: why it is not; None if all are.
        unmeasured: those whose length the engine's count of tokens will tell.
    """

    def __init__(
        self,
        engine_model: str,
        runs: MediaRuns,
        identities: Identities,
        engine_uuid: Callable[[str], str] | None,
    ) -> None:
        self._engine_model = engine_model
        self._runs = runs
        self._identities = identities
        self._engine_uuid = engine_uuid
        self.ids = array("I")
        self.media: list[MediaRun] = []
        self.cut_by: Inexact | None = None
        self.unmeasured: Unmeasured | None = None
        self._unknown: list[tuple[str, tuple[int, int]]] = []

    def put_in(self, ids: array[int], token: int, images: Sequence[Media]) -> None:
        """The engine gives the first such tokens of a prompt to its images, whoever wrote them.

        Raises:
            BadRequest: a media payload is not base64.
        """
        done = 0
        # All are asked for first: what stands behind an unknown one is learned of all the same.
        found = [self._run(image) for image in images]
        self.unmeasured = self._unmeasured(ids, token, found)
        for run, at in zip(found, _places(ids, token), strict=False):
            self.ids.extend(ids[done:at])
            done = at + 1
            if isinstance(run, Inexact):
                self.cut_by = run
                return
            name, run_ids = run
            self.media.append(MediaRun(len(self.ids), len(run_ids), name))
            self.ids.extend(run_ids)
        if len(self.media) < len(images):
            self.cut_by = Inexact.TEMPLATE
        else:
            self.ids.extend(ids[done:])

    def _run(self, image: Media) -> tuple[str, array[int]] | Inexact:
        named = self._named(image)
        if isinstance(named, Inexact):
            return named
        name, size = named
        new = self._runs.is_new(name, size)
        self._runs.saw(name, size, self._engine_model)
        ids = self._runs.length(name, size, self._engine_model)
        if ids is None:
            self._unknown.append(named)
            return Inexact.NEW_IMAGE if new else Inexact.UNKNOWN_RUN
        return name, ids

    def _unmeasured(
        self, ids: array[int], token: int, found: Sequence[tuple[str, array[int]] | Inexact]
    ) -> Unmeasured | None:
        known = [run for run in found if not isinstance(run, Inexact)]
        names, sizes = {name for name, _ in self._unknown}, {size for _, size in self._unknown}
        alike = len(names) == 1 or (len(sizes) == 1 and (0, 0) not in sizes)
        if not alike or len(known) + len(self._unknown) < len(found) or ids.count(token) < len(found):
            return None
        other_tokens = len(ids) - len(found) + sum(len(run_ids) for _, run_ids in known)
        return Unmeasured(tuple(name for name, _ in self._unknown), token, other_tokens)

    def _named(self, image: Media) -> tuple[str, tuple[int, int]] | Inexact:
        if image.base64 is None:
            if image.uuid and image.url is None:
                return self._engine_uuid(image.uuid) if self._engine_uuid else image.uuid, (0, 0)
            if not image.uuid or self._engine_uuid:
                return Inexact.REMOTE_MEDIA
            return image.uuid, (0, 0)
        identity = self._identities.of(image)
        size = (0, 0) if identity.may_be_turned else (identity.width, identity.height)
        if image.uuid and not self._engine_uuid:
            return image.uuid, size
        if identity.image_hash is None:
            return Inexact.UNKNOWN_IMAGE
        return identifier(identity.image_hash, self._engine_model), size


def _places(ids: array[int], token: int) -> Iterator[int]:
    at = -1
    while True:
        try:
            at = ids.index(token, at + 1)
        except ValueError:
            return
        yield at
