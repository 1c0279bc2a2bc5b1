"""What a person chose: the model, where engines run, how much of everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.engine.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where engines run.

    Args:
        kind: "cpu" or "gpu".
        places: cores, or GPUs, of the replicas in turn; "0-3" are four cores for one.
        alive: sets of engines that may live at a time, so that variants can take turns without starting anew.
    """

    kind: str
    places: tuple[str, ...]
    alive: int

    def place(self, replica: int) -> str:
        return self.places[replica % len(self.places)]


@dataclass(frozen=True, slots=True)
class Options:
    """Of a run.

    Args:
        model: a folder, or a name of the hub.
        served: the name that clients use.
        venv: in whose `bin` vllm and lmcache are.
        engine_arguments: further ones of `vllm serve`.
        quick: a tenth of everything: does it work at all.
    """

    model: str
    served: str
    venv: Path
    hardware: Hardware
    engine_arguments: tuple[str, ...]
    replicas: int
    sizes: Sizes
    images: int | None
    requests: int | None
    concurrency: int
    image_side: int
    repeats: int
    seed: int
    out: Path
    quick: bool
    fresh: bool

    @property
    def is_local(self) -> bool:
        """Whether the model is on this machine."""
        return Path(self.model).is_dir()
