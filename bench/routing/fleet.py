"""The simulated fleet of a run: how many replicas, how large, how fast, and who comes and goes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from extproc.sim import Engine, EngineSettings
from extproc.sim.cache import BlockCache
from extproc.sim.store import BlockStore


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Replicas 0 to n - 1 are there from the start, but for those that join.

    Args:
        kv_blocks: engine blocks of each replica.
        speeds: prefill rate of each replica as a multiple of `prefill_tokens_per_s`; decode is scaled alike.
        joins: replica -> when it joins, with an empty cache.
        leaves: replica -> when it leaves. It gets nothing new from then on and finishes what it has.
        host_blocks: of each replica's host-memory tier, 0 for none; `restore_tokens_per_s` is its speed.
        remote_blocks: of the store that all engines share behind that, 0 for none; `remote_tokens_per_s` is its speed.
        shared_cache: all engines use one cache of the fleet's size: nobody's, so that any replica hits any block.
    """

    replicas: int
    kv_blocks: int
    block_size: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float = 60.0
    speeds: tuple[float, ...] = ()
    joins: tuple[tuple[int, float], ...] = ()
    leaves: tuple[tuple[int, float], ...] = ()
    host_blocks: int = 0
    restore_tokens_per_s: float = 100_000.0
    remote_blocks: int = 0
    remote_tokens_per_s: float = 20_000.0
    shared_cache: bool = False

    def speed(self, replica: int) -> float:
        return self.speeds[replica] if self.speeds else 1.0

    @property
    def kv_tokens(self) -> int:
        """Of one replica."""
        return self.kv_blocks * self.block_size

    @property
    def host_tokens(self) -> int:
        """Of the tier behind one replica."""
        return self.host_blocks * self.block_size

    @property
    def remote_tokens(self) -> int:
        """Of the store behind all replicas."""
        return self.remote_blocks * self.block_size

    @property
    def smallest_speed(self) -> float:
        """Sum of speeds when fewest replicas are up: the fleet that a load level is reckoned for."""
        changes = sorted(
            [(at_s, self.speed(replica)) for replica, at_s in self.joins]
            + [(at_s, -self.speed(replica)) for replica, at_s in self.leaves]
        )
        joining = {replica for replica, _ in self.joins}
        speed = least = sum(self.speed(replica) for replica in range(self.replicas) if replica not in joining)
        for _, change in changes:
            speed += change
            least = min(least, speed)
        return least

    def with_prefill(self, prefill_tokens_per_s: float) -> FleetPlan:
        """The same fleet with faster or slower engines."""
        return replace(self, prefill_tokens_per_s=prefill_tokens_per_s)

    def build(self) -> list[Engine]:
        """Fresh engines."""
        shared = None
        if self.shared_cache:
            blocks, host_blocks = self.kv_blocks * self.replicas, self.host_blocks * self.replicas
            shared = BlockCache(blocks, elastic=True, host_blocks=host_blocks)
        remote = BlockStore(self.remote_blocks)
        return [Engine(self._engine(replica), shared, remote) for replica in range(self.replicas)]

    def _engine(self, replica: int) -> EngineSettings:
        speed = self.speed(replica)
        return EngineSettings(
            block_size=self.block_size,
            kv_blocks=self.kv_blocks,
            max_num_seqs=256,
            max_num_batched_tokens=8192,
            prefill_tokens_per_s=self.prefill_tokens_per_s * speed,
            decode_tokens_per_s=self.decode_tokens_per_s * speed,
            host_blocks=self.host_blocks,
            restore_tokens_per_s=self.restore_tokens_per_s,
            remote_tokens_per_s=self.remote_tokens_per_s,
        )
