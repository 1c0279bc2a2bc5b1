"""Real engines: vLLM on a core of its own with a tiny model, and an LMCache server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.engine.process import Process, fetch
from tests.envoy.gateway import until
from tests.ports import free_ports

MODEL = "tiny-llava"
TOPIC = "kv-events"


class LMCacheServer(Process):
    """A server that keeps what engines evict, in memory (L1), and in Redis (L2) if there is one.

    Args:
        l1_gb: its memory.
        redis: host and port of its L2.
    """

    def __init__(self, *, l1_gb: float = 1, redis: tuple[str, int] | None = None, extra: Sequence[str] = ()) -> None:
        self.port, self.http_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.http_port}"
        argv = ["lmcache", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        argv += ["--http-host", "127.0.0.1", "--http-port", str(self.http_port)]
        argv += ["--chunk-size", "256", "--l1-size-gb", str(l1_gb), "--eviction-policy", "LRU"]
        argv += ["--supported-transfer-mode", "auto"]
        if redis is not None:
            argv += ["--l2-adapter", json.dumps({"type": "resp", "host": redis[0], "port": redis[1]})]
        env = {"LMCACHE_TRACK_USAGE": "false", "LMCACHE_DISABLE_BANNER": "1"}
        super().__init__("lmcache", [*argv, *extra], env, f"{self.url}/healthcheck")

    async def clear(self) -> None:
        """Forgets what is in its memory; what is in Redis stays."""
        await asyncio.to_thread(fetch, f"{self.url}/cache/clear", b"")


class Engine(Process):
    """A vLLM server with KV events.

    >>> async with Engine(core=0, blocks=40) as engine:  # doctest: +SKIP
    ...     engine.kill()
    ...     await engine.restart()  # on the same ports

    Args:
        model: a folder in `.venv-engine/models`, and the name under which it is served.
        core: where it computes.
        blocks: in its KV cache, of `block_size` tokens each.
        lmcache: where it puts what it evicts.
        buffer_steps: batches of events that it can send again.
        ports: of its API, its events and their replay, if another engine had them before.
        extra: further arguments, after the others.
        env: further variables.
    """

    def __init__(
        self,
        model: str = MODEL,
        *,
        name: str = "vllm",
        core: int = 0,
        blocks: int = 160,
        block_size: int = 128,
        lmcache: LMCacheServer | None = None,
        buffer_steps: int = 10_000,
        ports: tuple[int, int, int] | None = None,
        extra: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.model, self.blocks, self.block_size = model, blocks, block_size
        self.ports = self.port, self.events_port, self.replay_port = ports or tuple(free_ports(3))
        self._buffer_steps = buffer_steps
        self.url = f"http://127.0.0.1:{self.port}"
        self.events_url = f"tcp://127.0.0.1:{self.events_port}"
        self.replay_url = f"tcp://127.0.0.1:{self.replay_port}"
        argv = ["vllm", "serve", f".venv-engine/models/{model}", "--served-model-name", model]
        argv += ["--host", "127.0.0.1", "--port", str(self.port), "--max-model-len", "16384", "--enforce-eager"]
        argv += ["--block-size", str(block_size), "--num-gpu-blocks-override", str(blocks), "--enable-prefix-caching"]
        argv += ["--enable-prompt-tokens-details", "--enable-scale-out", "--kv-events-config", self._events()]
        if lmcache is not None:
            argv += ["--kv-transfer-config", _connector(lmcache)]
        variables = {
            "VLLM_CPU_OMP_THREADS_BIND": str(core),
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, from which `blocks` takes its part
            "VLLM_SERVER_DEV_MODE": "1",  # for /reset_prefix_cache
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "LMCACHE_TRACK_USAGE": "false",
        }
        super().__init__(name, [*argv, *extra], {**variables, **(env or {})}, f"{self.url}/health")

    @property
    def capacity_tokens(self) -> int:
        return self.blocks * self.block_size

    async def metrics(self) -> dict[str, float]:
        """Its metrics page by sample name, such as `vllm:prefix_cache_hits_total`, summed over the labels."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(await asyncio.to_thread(fetch, f"{self.url}/metrics")):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    async def chat(self, *content: Any, **fields: Any) -> dict[str, Any]:
        """Asks this engine, past any gateway; the answer of a blocking chat request."""
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        body = {"model": self.model, "max_tokens": 2, "messages": [{"role": "user", "content": parts}], **fields}
        answer: dict[str, Any] = json.loads(
            await asyncio.to_thread(fetch, f"{self.url}/v1/chat/completions", json.dumps(body).encode())
        )
        return answer

    async def reset_cache(self) -> None:
        """Forgets all prefixes. It says so in its events with the next request only.

        What is on its way to LMCache cannot be forgotten before it is there.
        """

        async def forgotten() -> bool:
            answer = await asyncio.to_thread(fetch, f"{self.url}/reset_prefix_cache", b"")
            return bool(json.loads(answer or "{}").get("success", True))

        await until(forgotten, lambda: f"{self.name} does not forget its prefixes: {self.log[-2000:]}")

    def _events(self) -> str:
        return json.dumps(
            {
                "enable_kv_cache_events": True,
                "publisher": "zmq",
                "endpoint": f"tcp://*:{self.events_port}",
                "replay_endpoint": f"tcp://*:{self.replay_port}",
                "topic": TOPIC,
                "buffer_steps": self._buffer_steps,
            }
        )


def _connector(lmcache: LMCacheServer) -> str:
    where = {
        "lmcache.mp.host": "tcp://127.0.0.1",
        "lmcache.mp.port": lmcache.port,
        "lmcache.mp.mp_transfer_mode": "lmcache_driven",  # the only one that tells of its tier on a CPU
    }
    return json.dumps({"kv_connector": "LMCacheMPConnector", "kv_role": "kv_both", "kv_connector_extra_config": where})
