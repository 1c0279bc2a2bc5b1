"""The command lines of vLLM, LMCache and Redis. The same flags for all variants but for what is compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from bench.engine.options import Options

Offload = Literal["none", "cpu", "redis"]


@dataclass(frozen=True, slots=True)
class Setup:
    """Engines and what is behind them. Two variants with the same setup use the same processes.

    Args:
        blocks: in the KV cache of each replica.
        offload: where evicted KV goes: nowhere, into LMCache's memory, or through it into Redis.
    """

    replicas: int
    blocks: int
    offload: Offload = "none"


@dataclass(frozen=True, slots=True)
class Command:
    """A program and what it is told by its environment."""

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    def line(self) -> str:
        """As a person would type it."""
        words = [f"{name}={value}" for name, value in self.env]
        return " ".join([*words, *(f"'{word}'" if set(word) & set(' {"*') else word for word in self.argv)])


@dataclass(frozen=True, slots=True)
class EnginePorts:
    """Of one replica."""

    http: int
    events: int
    replay: int


def vllm(options: Options, setup: Setup, replica: int, ports: EnginePorts, lmcache_port: int | None) -> Command:
    """One replica, on its core or GPU."""
    sizes, place = options.sizes, options.hardware.place(replica)
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://*:{ports.events}",
        "replay_endpoint": f"tcp://*:{ports.replay}",
        "topic": "kv-events",
    }
    argv = [str(options.venv / "bin" / "vllm"), "serve", options.model, "--served-model-name", options.served]
    argv += ["--host", "127.0.0.1", "--port", str(ports.http), "--load-format", sizes.load_format]
    room = (setup.blocks - 1) * sizes.block_size  # vLLM does not start without room for the longest prompt
    argv += ["--max-model-len", str(min(sizes.max_model_len, room)), "--block-size", str(sizes.block_size)]
    argv += ["--num-gpu-blocks-override", str(setup.blocks), "--seed", str(options.seed)]
    argv += ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--kv-events-config", json.dumps(events)]
    env = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "LMCACHE_TRACK_USAGE": "false"}
    env |= {"HF_HUB_OFFLINE": "1"} if options.is_local else {}
    if options.hardware.kind == "cpu":
        argv += ["--enforce-eager"]
        env |= {"VLLM_CPU_OMP_THREADS_BIND": place, "VLLM_CPU_KVCACHE_SPACE": "1"}
    else:
        env |= {"CUDA_VISIBLE_DEVICES": place.replace("+", ",")}
    if lmcache_port is not None:
        argv += ["--kv-transfer-config", _connector(options, lmcache_port)]
    return Command(f"vllm-{replica}", (*argv, *options.engine_arguments), tuple(env.items()))


def lmcache(options: Options, setup: Setup, port: int, http_port: int, store_port: int | None) -> Command:
    """The server that keeps what engines evict; with `store_port`, in the Redis that answers there."""
    sizes = options.sizes
    l1_gb = sizes.l1_gb if store_port is None else sizes.l1_staging_gb
    argv = [str(options.venv / "bin" / "lmcache"), "server", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--http-host", "127.0.0.1", "--http-port", str(http_port), "--chunk-size", str(sizes.chunk_tokens)]
    argv += ["--l1-size-gb", f"{l1_gb:g}", "--eviction-policy", "LRU"]
    if options.hardware.kind == "cpu":
        argv += ["--supported-transfer-mode", "auto"]
    if store_port is not None:
        # Its own memory is a buffer then: what is in Redis is dropped from it, so that hits are Redis's.
        argv += [
            "--l2-store-policy",
            "skip_l1",
            "--l2-adapter",
            json.dumps({"type": "resp", "host": "127.0.0.1", "port": store_port}),
        ]
    return Command("lmcache", tuple(argv), (("LMCACHE_TRACK_USAGE", "false"), ("LMCACHE_DISABLE_BANNER", "1")))


def redis(program: str, port: int) -> Command:
    """A Redis that keeps everything in memory and nothing on disk."""
    argv = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    return Command("redis", tuple(argv))


def _connector(options: Options, port: int) -> str:
    where: dict[str, object] = {"lmcache.mp.host": "tcp://127.0.0.1", "lmcache.mp.port": port}
    if options.hardware.kind == "cpu":
        where["lmcache.mp.mp_transfer_mode"] = "lmcache_driven"  # the one that works without a GPU
    return json.dumps({"kv_connector": "LMCacheMPConnector", "kv_role": "kv_both", "kv_connector_extra_config": where})
