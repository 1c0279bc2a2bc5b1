"""Images in a prompt: where they stand, what the engine calls them, and how many tokens they take."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

from extproc.api.requests import Media
from extproc.prefix.engine_identity import identifier
from extproc.prefix.exact import Inexact, MediaRun
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

    def put_in(self, ids: array[int], token: int, images: Sequence[Media]) -> None:
        """The engine gives the first such tokens of a prompt to its images, whoever wrote them.

        Raises:
            BadRequest: a media payload is not base64.
        """
        done = 0
        # All are asked for first: what stands behind an unknown one is learned of all the same.
        found = [self._run(image) for image in images]
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
        self._runs.saw(name, size, self._engine_model)
        ids = self._runs.length(name, size, self._engine_model)
        return Inexact.UNKNOWN_RUN if ids is None else (name, ids)

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
