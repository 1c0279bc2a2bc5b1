"""Faults that a replica can be told to show, set over ``POST /sim/faults``.

ok              nothing
hang            takes the request and never answers
error           answers with `status`
slow            the engine's steps take `factor` times as long while such a request is in it
reset_midstream answers, and resets the connection after `after_tokens` tokens
refuse          closes the connection without an answer
unhealthy       /health answers 503; inference goes on
metrics_garbled /metrics has words where numbers should be; inference goes on
metrics_hang    /metrics begins to answer and never ends; inference goes on
metrics_huge    /metrics is a page of 10 MB; inference goes on
die             exits with status 137 as a killed process does: at once, or once a reply has `after_tokens` tokens
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import msgspec

from extproc.sim.errors import malformed

Mode = Literal[
    "ok",
    "hang",
    "error",
    "slow",
    "reset_midstream",
    "refuse",
    "die",
    "unhealthy",
    "metrics_garbled",
    "metrics_hang",
    "metrics_huge",
]

EXIT_STATUS = 137


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes wrong, and for how many requests from now on (None: until told otherwise)."""

    mode: Mode = "ok"
    status: Literal[429, 500, 503] = 503
    after_tokens: int | None = None
    factor: float = 10.0
    times: int | None = None

    def __post_init__(self) -> None:
        if self.after_tokens is not None and self.after_tokens < 0:
            raise ValueError("after_tokens must be at least 0")
        if not self.factor > 0:
            raise ValueError("factor must be above 0")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be at least 1")

    @property
    def cut_after_tokens(self) -> int | None:
        """Tokens of a reply after which its connection or the process ends; None: never."""
        return (self.after_tokens or 0) if self.mode in ("reset_midstream", "die") else None


OK = Fault()


class Faults:
    """The switch. `exit_process` is what "die" calls."""

    def __init__(self, exit_process: Callable[[int], None] = os._exit) -> None:
        self._exit = exit_process
        self._fault = OK
        self._left: int | None = None

    @property
    def current(self) -> Fault:
        return msgspec.structs.replace(self._fault, times=self._left)

    @property
    def healthy(self) -> bool:
        return self._fault.mode != "unhealthy"

    def set(self, body: bytes) -> Fault:
        """Take a fault from JSON.

        Raises:
            Refused: it is not one (400).
        """
        try:
            fault = msgspec.json.decode(body, type=Fault)
        except msgspec.DecodeError as error:
            raise malformed(str(error)) from error
        self._fault, self._left = fault, fault.times
        if fault.mode == "die" and fault.after_tokens is None:
            self.die()
        return self.current

    def claim(self) -> Fault:
        """The fault for one more inference request; counts it."""
        fault = self._fault
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self._fault, self._left = OK, None
        return fault

    def die(self) -> None:
        self._exit(EXIT_STATUS)
