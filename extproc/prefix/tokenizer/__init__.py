"""The prompt that the engine makes of a request, token by token, from the model's own files.

Nothing of it is imported before `load_model` is called: `tokenizers` and `jinja2` are needed in precise mode only, and
come with ``pip install kvgate[precise]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from extproc.prefix.tokenizer.folder import BadModelFolder

if TYPE_CHECKING:
    from extproc.prefix.tokenizer.exactly import TokenizedModel

__all__ = ["BadModelFolder", "load_model"]

MEMORY_BYTES = 64 << 20


def load_model(name: str, folder: Path, engine_model: str, *, memory_bytes: int = MEMORY_BYTES) -> TokenizedModel:
    """Reads a model's folder; takes up to a few seconds for a large vocabulary.

    Args:
        engine_model: what the engine was given as its model, a path or a name of the hub.
        memory_bytes: bound of what is remembered of texts.

    Raises:
        BadModelFolder: a file is missing or broken, or the libraries are not installed.
    """
    try:
        from extproc.prefix.tokenizer.exactly import read_model
    except ModuleNotFoundError as error:
        raise BadModelFolder(f"{error.name} is not installed: pip install kvgate[precise]") from None
    return read_model(name, folder, engine_model, memory_bytes)
