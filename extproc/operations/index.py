"""The cache index, as an operator sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from extproc.admin.errors import Invalid
from extproc.admin.v1 import admin_pb2 as pb
from extproc.clock import Clock
from extproc.fleet.dump import beginnings, runs
from extproc.fleet.replica import ReplicaState
from extproc.fleet.state import Fleet

_USUAL, _MOST = 1000, 10_000


@dataclass(frozen=True, slots=True)
class Index:
    """See `admin.parts.Index`."""

    fleet: Fleet
    clock: Clock

    def get(self) -> pb.Index:
        index = self.fleet.index
        return pb.Index(
            blocks=len(index),
            prompts=beginnings(index),
            replicas=[self._of(state) for state in self.fleet.replicas.values()],
        )

    def dump(self, request: pb.DumpIndexRequest) -> pb.IndexDump:
        limit = request.limit or _USUAL
        if not 0 < limit <= _MOST:
            raise Invalid(f"limit must be from 1 to {_MOST}.")
        found = list(islice(runs(self.fleet.index), limit + 1))
        return pb.IndexDump(
            runs=[
                pb.IndexRun(
                    hash=run.hash,
                    parent=run.parent,
                    first_block=run.first_block,
                    end_block=run.end_block,
                    tokens=run.tokens,
                    replicas=run.replicas,
                    claims=run.claims,
                )
                for run in found[:limit]
            ],
            truncated=len(found) > limit,
        )

    def _of(self, state: ReplicaState) -> pb.ReplicaIndex:
        index, name = self.fleet.index, state.name
        held = {tier.kind: tier.tokens for tier in index.tiers(name)}
        lifetime_s = index.lifetime_s(name, self.clock.now())
        return pb.ReplicaIndex(
            name=name,
            tokens=index.tokens(name),
            capacity_tokens=state.capacity.tokens or 0,
            held_blocks=index.held_blocks(name),
            claimed_blocks=index.claimed_blocks(name),
            host_tier_tokens=held.get("host", 0),
            lifetime_s=lifetime_s if math.isfinite(lifetime_s) else -1,
            remote_tier_tokens=held.get("remote", 0),
        )
