"""The configuration, as an operator sees, reloads and checks it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

from extproc.admin.errors import Invalid, NotNow
from extproc.admin.v1 import admin_pb2 as pb
from extproc.config.build import build
from extproc.config.errors import ConfigError, Problem, dotted
from extproc.config.load import loads
from extproc.config.masked import as_yaml
from extproc.operations.live import LiveConfiguration

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ConfigurationPart:
    """See `admin.parts.Configuration`."""

    live: LiveConfiguration

    async def get(self) -> pb.Config:
        live = self.live
        return pb.Config(
            yaml=await asyncio.to_thread(as_yaml, live.current.settings),
            path=str(live.source.path or ""),
            changes=list(live.overlay.sentences()),
        )

    async def reload(self) -> pb.ReloadConfigResponse:
        try:
            taken = await self.live.reload()
        except (ValueError, OSError) as error:
            raise NotNow(str(error)) from None
        topology = taken.topology
        return pb.ReloadConfigResponse(
            warnings=list(taken.warnings), models=len(topology.models), replicas=len(topology.replicas)
        )

    async def validate(self, request: pb.ValidateConfigRequest) -> pb.ValidateConfigResponse:
        if len(request.yaml) > _MOST_BYTES:
            raise Invalid(f"yaml must have at most {_MOST_BYTES} bytes.")
        problems = await asyncio.to_thread(lambda: list(_problems(request.yaml)))
        return pb.ValidateConfigResponse(
            valid=all(problem.severity != "error" for problem in problems), problems=problems
        )


def _problems(text: str) -> Iterator[pb.ConfigProblem]:
    try:
        loaded = loads(text, os.environ)
        build(loaded.settings)
    except ConfigError as error:
        yield from (_written("error", problem) for problem in error.problems)
        return
    yield from (_written("warning", problem) for problem in loaded.remarks)


def _written(severity: str, problem: Problem) -> pb.ConfigProblem:
    return pb.ConfigProblem(severity=severity, line=problem.line or 0, key=dotted(problem.path), text=problem.text)
