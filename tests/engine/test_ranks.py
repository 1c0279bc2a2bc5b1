"""A real vLLM with two data-parallel ranks and a LoRA adapter: what precise mode predicts is what it had cached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.adapter import write_adapter
from tests.engine.conftest import in_front_of
from tests.engine.engines import Engine
from tests.envoy.gateway import Gateway, until
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL, ADAPTER = "tiny-llama", "tiny-llama-sql"
STORY = "A gateway remembers which of its replicas has read which story, and sends the next chapter there. " * 20
_RANKS = 2
_SETTLED_S = 0.3
"""Events of what a request stored come with the engine's next steps."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: Any) -> AsyncIterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("adapter")
    write_adapter(folder)
    port = free_port()
    extra = ["--data-parallel-size", str(_RANKS), "--enable-lora", "--max-lora-rank", "8"]
    extra += ["--lora-modules", f"{ADAPTER}={folder}"]
    ports = (port, port + 10, port + 20)  # each rank publishes on the ports that follow
    async with Engine(
        MODEL, name="vllm", blocks=160, ports=ports, extra=extra, env={"VLLM_CPU_OMP_THREADS_BIND": "0|1"}
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(engine: Engine) -> AsyncIterator[Gateway]:
    tokenizer = {"tokenizer": f".venv-engine/models/{MODEL}"}
    deployments = [{"provider": "sims"}]
    models = [
        {"name": MODEL, "deployments": deployments, **tokenizer},
        {"name": "sql", "deployments": [{"provider": "sims", "model": ADAPTER}], "lora": True, **tokenizer},
    ]
    async with in_front_of([engine], precise=True, provider={"data_parallel_size": _RANKS}, models=models) as running:
        yield running


async def ask(gateway: Gateway, text: str, model: str = MODEL) -> tuple[str, int, int]:
    """The replica that served, what was predicted to be cached there, and what was."""
    body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": text}]}
    async with gateway.post(body) as response:
        answer = json.loads(await response.text())
        assert response.status == 200, answer
        predicted = int(response.headers["x-kvgate-predicted-cached-tokens"])
        replica = response.headers["x-kvgate-replica"]
    await asyncio.sleep(_SETTLED_S)
    return replica, predicted, answer["usage"]["prompt_tokens_details"]["cached_tokens"]


async def test_each_rank_keeps_its_conversations_and_is_predicted_exactly(gateway: Gateway) -> None:
    homes: dict[int, str] = {}
    for number in range(6):
        homes[number], predicted, cached = await ask(gateway, f"{number}. {STORY}")
        assert (predicted, cached) == (0, 0)
    assert set(homes.values()) == {"vllm~0", "vllm~1"}
    for number, home in homes.items():
        replica, predicted, cached = await ask(gateway, f"{number}. {STORY} And then?")
        assert replica == home
        assert predicted == cached > 256


async def test_the_blocks_of_an_adapter_are_its_own_and_are_predicted_exactly(gateway: Gateway) -> None:
    text = f"adapted: {STORY}"
    home, predicted, cached = await ask(gateway, text, "sql")
    assert (predicted, cached) == (0, 0)
    replica, predicted, cached = await ask(gateway, text + " And then?", "sql")
    assert replica == home
    assert predicted == cached > 256
    _, predicted, cached = await ask(gateway, text)
    assert (predicted, cached) == (0, 0), "the base model has read nothing of it"
    _, predicted, cached = await ask(gateway, text + " And then?")
    assert predicted == cached > 256
    _, predicted, cached = await ask(gateway, text + " And then?", "sql")
    assert predicted == cached > 256


async def test_the_capacity_of_each_rank_is_read(gateway: Gateway, engine: Engine) -> None:
    read: dict[str, float] = {}

    async def known() -> bool:
        async with gateway.http.get(f"{gateway.operations_url}/admin/replicas") as response:
            read.update({each["name"]: each["capacity_tokens"] for each in (await response.json())["replicas"]})
        return read == {"vllm~0": engine.capacity_tokens, "vllm~1": engine.capacity_tokens}

    await until(known, lambda: f"{read}: {gateway.log[-4000:]}")
