"""What a simulated replica is: the engine's size and speed, and the server around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Size and speed of one engine. The defaults are about those of an 8B model on one small GPU.

    Args:
        block_size: tokens in a KV block.
        kv_blocks: KV blocks in GPU memory.
        max_num_seqs: requests running at once.
        max_num_batched_tokens: tokens computed in one step; a longer prompt is prefilled in chunks.
        prefill_tokens_per_s: prompt tokens computed a second; may be infinite.
        decode_tokens_per_s: tokens a second of a lone stream; may be infinite.
        step_overhead_s: fixed cost of every step. A lone stream still decodes at `decode_tokens_per_s`, unless the
            overhead alone is longer than a token.
        decode_interference: how much longer a decode step takes for each further stream in the batch, as a share of
            the lone stream's.
        host_blocks: KV blocks in a host-memory tier behind the GPU: what the GPU evicts is kept there, least recently
            used first to go, and a prompt that continues there is restored instead of computed. 0 for none.
        restore_tokens_per_s: how fast; restoring takes its time in the step that admits the request.
        remote_tokens_per_s: how fast it restores from a store that it shares with other engines, if it is given one.
        record_events: keep what is stored and removed for `Engine.take_events`.
    """

    block_size: int = 16
    kv_blocks: int = 8192
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    prefill_tokens_per_s: float = 20_000.0
    decode_tokens_per_s: float = 60.0
    step_overhead_s: float = 0.001
    decode_interference: float = 0.01
    host_blocks: int = 0
    restore_tokens_per_s: float = 100_000.0
    remote_tokens_per_s: float = 20_000.0
    record_events: bool = False

    def __post_init__(self) -> None:
        for name in ("block_size", "kv_blocks", "max_num_seqs", "max_num_batched_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.host_blocks < 0:
            raise ValueError(f"host_blocks must be at least 0, not {self.host_blocks}")
        for name in ("prefill_tokens_per_s", "decode_tokens_per_s", "restore_tokens_per_s", "remote_tokens_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("step_overhead_s", "decode_interference"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, not {getattr(self, name)}")

    @classmethod
    def instant(cls, *, block_size: int = 16, kv_blocks: int = 8192, record_events: bool = False) -> EngineSettings:
        """An engine that takes no time: what is left to measure is what stands in front of it."""
        return cls(
            block_size=block_size,
            kv_blocks=kv_blocks,
            prefill_tokens_per_s=math.inf,
            decode_tokens_per_s=math.inf,
            step_overhead_s=0.0,
            record_events=record_events,
        )

    @property
    def kv_tokens(self) -> int:
        return self.kv_blocks * self.block_size

    def step_s(self, prefill_tokens: int, decodes: int, restored_tokens: int = 0, remote_tokens: int = 0) -> float:
        """Seconds that a step takes which computes this many prompt tokens and one token for each of `decodes`.

        Args:
            restored_tokens, remote_tokens: brought back from the host tier, and from the remote store.
        """
        duration_s = self.step_overhead_s + prefill_tokens / self.prefill_tokens_per_s
        duration_s += restored_tokens / self.restore_tokens_per_s
        duration_s += remote_tokens / self.remote_tokens_per_s
        if decodes:
            lone_s = max(0.0, 1.0 / self.decode_tokens_per_s - self.step_overhead_s)
            duration_s += lone_s * (1.0 + self.decode_interference * (decodes - 1))
        return duration_s


@dataclass(frozen=True, slots=True)
class SimSettings:
    """A replica: an engine and the HTTP server in front of it.

    Args:
        port: 0 chooses a free one.
        models: the names it answers to, the first being the one its metrics carry.
        loras: adapter names it also answers to; their KV blocks are their own.
        data_parallel_size: engines behind the one server, each with a cache of its own.
        latency_s: added to each request before it reaches the engine.
        max_model_tokens: longest prompt and output together; the whole KV cache if None.
        default_output_tokens: length of a reply whose request sets no limit; it then ends with "stop", not "length".
        kv_events_endpoint: ZMQ address to publish KV events on; off if None. Port 0 chooses a free one. Data-parallel
            ranks count on from its port, and from that of the replay.
        kv_events_replay: ZMQ address that answers replay requests.
        recent_requests: how many request summaries /sim/state can show.
        shutdown_grace_s: how long `stop` waits for replies that are under way.
    """

    name: str = "sim"
    host: str = "127.0.0.1"
    port: int = 0
    models: tuple[str, ...] = ("sim-model",)
    loras: tuple[str, ...] = ()
    data_parallel_size: int = 1
    engine: EngineSettings = field(default_factory=EngineSettings)
    latency_s: float = 0.0
    max_model_tokens: int | None = None
    default_output_tokens: int = 16
    kv_events_endpoint: str | None = None
    kv_events_replay: str | None = None
    recent_requests: int = 256
    shutdown_grace_s: float = 0.2

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("a replica serves at least one model")
        if self.data_parallel_size < 1:
            raise ValueError(f"data_parallel_size must be at least 1, not {self.data_parallel_size}")
        if self.kv_events_replay and not self.kv_events_endpoint:
            raise ValueError("kv_events_replay needs kv_events_endpoint")

    @property
    def context_tokens(self) -> int:
        if self.max_model_tokens is None:
            return self.engine.kv_tokens
        return min(self.max_model_tokens, self.engine.kv_tokens)
