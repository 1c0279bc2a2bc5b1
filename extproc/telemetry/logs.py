"""The log: one line an event on stderr, with time, level and the part that speaks."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    """Sets up the root logger.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
    """
    logging.basicConfig(
        level=level,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        force=True,
    )
    for library in ("asyncio", "grpc"):
        logging.getLogger(library).setLevel(max(logging.INFO, logging.getLogger().level))
