"""The configuration in force: what the file says, and over it what was changed while the gateway ran."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from extproc.config.build import build
from extproc.config.overlay import Overlay
from extproc.config.settings import Settings
from extproc.config.topology import Topology

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration file, read and understood.

    Args:
        warnings: what its author should know, a line each.
    """

    settings: Settings
    topology: Topology
    warnings: tuple[str, ...] = ()

    def under(self, overlay: Overlay) -> Configuration:
        """The same with changes over it.

        Raises:
            ConfigError: they contradict each other.
        """
        if not overlay:
            return self
        settings = overlay.over(self.settings)
        return replace(self, settings=settings, topology=build(settings))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration comes from.

    Args:
        read: reads it again. Raises ValueError or OSError, with text for the operator, if it cannot be used.
        path: the file, if it is one.
    """

    read: Callable[[], Configuration] | None = None
    path: Path | None = None


@dataclass(slots=True)
class LiveConfiguration:
    """One change at a time; each is taken as a whole or not at all.

    Args:
        file: as it was read last.
        adopt: makes a configuration the current one. Raises before it has changed anything.

    Attributes:
        current: the one in force.
        loaded_unix_s: when the file was taken.
        error: why the file was not taken when it was last read; empty: it was.
    """

    file: Configuration
    source: Source
    adopt: Callable[[Configuration], Awaitable[None]]
    wall: Callable[[], float] = time.time
    overlay: Overlay = field(default_factory=Overlay)
    error: str = ""
    current: Configuration = field(init=False)
    loaded_unix_s: float = field(init=False)
    _one_at_a_time: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.current = self.file
        self.loaded_unix_s = self.wall()

    async def take(self, file: Configuration) -> None:
        """What the file says now.

        Raises:
            ValueError: it contradicts the changes made since, or cannot be adopted.
        """
        async with self._one_at_a_time:
            await self._become(file, self.overlay)
            self.loaded_unix_s, self.error = self.wall(), ""

    async def change(self, changed: Callable[[Overlay], Overlay]) -> None:
        """Another change over the file.

        Raises:
            ValueError: what comes of it cannot be used.
        """
        async with self._one_at_a_time:
            await self._become(self.file, changed(self.overlay).less(self.file.settings))

    async def reload(self) -> Configuration:
        """Reads the file and takes it; `error` keeps why not.

        Raises:
            ValueError: it cannot be used, or there is none.
            OSError: it cannot be read.
        """
        if self.source.read is None:
            raise ValueError("The gateway was started without a file that could be read again.")
        try:
            # YAML takes its time, which requests have no part in.
            file = await asyncio.to_thread(self.source.read)
            await self.take(file)
        except (ValueError, OSError) as error:
            self.error = str(error)
            log.error("the configuration stays as it was: %s", error)
            raise
        log.info("configuration reloaded; replicas: %s", ", ".join(self.current.topology.replicas) or "none")
        return self.current

    async def _become(self, file: Configuration, overlay: Overlay) -> None:
        # With hundreds of replicas this takes tens of milliseconds, which requests have no part in.
        current = await asyncio.to_thread(file.under, overlay) if overlay else file
        await self.adopt(current)
        self.file, self.overlay, self.current = file, overlay, current
