"""What clients' own names for images stand for: learned when they came with data, asked when they come without."""

from __future__ import annotations

from collections import OrderedDict

from extproc.api.cache_identity import unknown_uuid
from extproc.api.requests import InferenceRequest, Media
from extproc.prefix.engine_identity import ImageHash, identifier
from extproc.prefix.media import Identities


class ClientUuids:
    """The engine's name for the bytes behind a uuid, by tenant, model and uuid.

    Args:
        max_uuids: remembered; the one used longest ago is forgotten first. Some 500 bytes each.
    """

    def __init__(self, max_uuids: int = 65_536) -> None:
        self._max_uuids = max_uuids
        self._names: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    def learn(self, request: InferenceRequest, tenant: str, engine_model: str, identities: Identities) -> None:
        """Takes in the uuids that came with data. What a uuid stood for last is what it stands for.

        Raises:
            BadRequest: a media payload is not base64.
        """
        for message in request.messages:
            for part in message.parts:
                if isinstance(part, Media) and part.uuid and part.base64 is not None and part.kind == "image":
                    self._learn((tenant, engine_model, part.uuid), identities.of(part).image_hash, engine_model)

    def engine_uuid(self, tenant: str, engine_model: str, uuid: str) -> str:
        """What to write for a uuid without data: the engine's name for its bytes, or one that nobody has."""
        key = tenant, engine_model, uuid
        name = self._names.get(key)
        if name is None:
            return unknown_uuid(tenant, uuid)
        self._names.move_to_end(key)
        return name

    def _learn(self, key: tuple[str, str, str], image_hash: ImageHash | None, engine_model: str) -> None:
        if image_hash is None:
            self._names.pop(key, None)
            return
        self._names[key] = identifier(image_hash, engine_model)
        self._names.move_to_end(key)
        if len(self._names) > self._max_uuids:
            self._names.popitem(last=False)
