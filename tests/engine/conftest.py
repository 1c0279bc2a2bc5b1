"""Two real engines that all tests share, and a gateway of its own for each test. `make test-engine` runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.engine.engines import Engine, LMCacheServer
from tests.engine.process import Process
from tests.envoy.gateway import Gateway
from tests.redis_server import RedisServer

_TEST_WITHIN_S = 600
_SHOWN_CHARACTERS = 4000


class Offloading(NamedTuple):
    """Engines that share an LMCache server, and the Redis behind that."""

    engines: Sequence[Engine]
    lmcache: LMCacheServer
    redis: RedisServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine_pair() -> AsyncIterator[Sequence[Engine]]:
    """A tiny Llava-OneVision on each of two cores. Tests use `engines`, which sees to it that they live."""
    async with AsyncExitStack() as stack:
        yield await _start(stack, [Engine(name=f"vllm-{core}", core=core) for core in range(2)])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def offloading_pair() -> AsyncIterator[Offloading]:
    """The same with LMCache and Redis. Tests use `offloading`."""
    async with (
        RedisServer() as redis,
        LMCacheServer(redis=("127.0.0.1", redis.port)) as lmcache,
        AsyncExitStack() as stack,
    ):
        engines = [Engine(name=f"vllm-{core}-lmcache", core=core, lmcache=lmcache) for core in range(2)]
        yield Offloading(await _start(stack, engines), lmcache, redis)


@pytest.fixture
async def engines(engine_pair: Sequence[Engine]) -> Sequence[Engine]:
    """Two engines, up and with empty caches."""
    await _renew(engine_pair)
    return engine_pair


@pytest.fixture
async def offloading(offloading_pair: Offloading) -> Offloading:
    """Two engines, up and with empty caches, and an LMCache with an empty memory. Redis keeps what it had."""
    await _renew(offloading_pair.engines)
    await offloading_pair.lmcache.clear()
    return offloading_pair


@pytest.fixture
async def gateway(engines: Sequence[Engine]) -> AsyncIterator[Gateway]:
    """A gateway in front of the two engines that knows nothing of them yet."""
    async with in_front_of(engines) as running:
        yield running


def in_front_of(
    engines: Sequence[Engine],
    *,
    precise: bool = False,
    provider: dict[str, Any] | None = None,
    events: Mapping[str, str] | None = None,
    **sections: Any,
) -> Gateway:
    """A gateway for engines, to be entered.

    Args:
        precise: whether it listens to their KV events and has their tokenizer.
        provider: further settings of the provider.
        events: where it hears the events of some engines, by name, if not where they publish them.
        sections: as those of `Gateway`.
    """
    provider = dict(provider or {})
    model = engines[0].model
    if precise:
        heard = {each.name: each.events_url for each in engines} | dict(events or {})
        provider["replicas"] = [
            {"name": each.name, "url": each.url, "kv_events_url": heard[each.name], "replay_url": each.replay_url}
            for each in engines
        ]
        sections["routing"] = {"prefix_index": "precise", **sections.get("routing", {})}
        tokenizer = {"tokenizer": f".venv-engine/models/{model}"}
        sections.setdefault("models", [{"name": model, "deployments": [{"provider": "sims"}], **tokenizer}])
    return Gateway({engine.name: engine.url for engine in engines}, provider, model=model, **sections)


async def _start(stack: AsyncExitStack, engines: Sequence[Engine]) -> Sequence[Engine]:
    for engine in engines:
        stack.push_async_exit(engine)
    await asyncio.gather(*(engine.start() for engine in engines))
    return engines


async def _renew(engines: Sequence[Engine]) -> None:
    await asyncio.gather(*(engine.start() for engine in engines if not engine.is_running))
    await asyncio.gather(*(engine.reset_cache() for engine in engines))
    # Only with its next step does an engine say that it has forgotten; so short a prompt fills no block.
    await asyncio.gather(*(engine.chat("again") for engine in engines))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_TEST_WITHIN_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for process in Process.running:
            report.sections.append((f"the end of what {process.name} printed", process.log[-_SHOWN_CHARACTERS:]))
    return report
