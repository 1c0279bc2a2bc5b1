"""GET /v1/models and GET /v1/models/{id}, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from .errors import ModelNotFound


def model_list(names: Iterable[str], created: int) -> bytes:
    """The JSON of the list, in the order given.

    Args:
        created: Unix time in seconds; clients may compare it, so it stays the same while the gateway runs.
    """
    return orjson.dumps({"object": "list", "data": [_model(name, created) for name in names]})


def one_model(names: Iterable[str], name: str, created: int) -> bytes:
    """The JSON of one model.

    Raises:
        ModelNotFound: `name` is not among `names`.
    """
    if name not in names:
        raise ModelNotFound(name)
    return orjson.dumps(_model(name, created))


def _model(name: str, created: int) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": created, "owned_by": "kvgate"}
