"""Settings -> the models whose prompts can be tokenised here. Used by `server.py` alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from extproc.config.errors import ConfigError, Problem
from extproc.config.settings import Routing
from extproc.config.topology import Model, Topology
from extproc.prefix.tokenizer import BadModelFolder, load_model

if TYPE_CHECKING:
    from extproc.prefix.tokenizer.exactly import TokenizedModel

log = logging.getLogger(__name__)


class TokenizedModels:
    """Loads each model once, whatever else of the configuration changes."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, Path | None, str], TokenizedModel] = {}

    async def of(self, topology: Topology, routing: Routing) -> Mapping[str, TokenizedModel]:
        """The models of precise mode by name; none in another mode.

        Raises:
            ConfigError: a model's folder cannot be used, or packages are missing.
        """
        found: dict[tuple[str, Path | None, str], TokenizedModel] = {}
        for model in topology.models.values() if routing.prefix_index == "precise" else ():
            if model.tokenizer is not None:
                key = model.name, model.tokenizer, model.engine_path
                known = self._loaded.get(key)
                found[key] = await asyncio.to_thread(_load, model) if known is None else known
        self._loaded = found
        return {name: loaded for (name, _, _), loaded in found.items()}


def _load(model: Model) -> TokenizedModel:
    assert model.tokenizer is not None
    try:
        loaded = load_model(model.name, model.tokenizer, model.engine_path)
    except BadModelFolder as error:
        raise ConfigError([Problem(("models", model.name, "tokenizer"), str(error))]) from None
    log.info("model %s is tokenised with %s", model.name, model.tokenizer)
    return loaded
