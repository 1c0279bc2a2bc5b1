"""The gateway as something to operate: reload, drain, restart, live beside another one."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator

import aiohttp
import grpc
import psutil
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.envoy.gateway import Gateway, until
from tests.ports import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    """What is done to it is undone by it, or by the test."""
    async with Gateway() as running:
        yield running


async def test_a_replica_added_to_the_file_serves_and_one_removed_does_not(gateway: Gateway) -> None:
    (port,) = free_ports(1)
    providers = copy.deepcopy(gateway.config["providers"])
    gone = providers[0]["replicas"].pop(0)["name"]
    providers[0]["replicas"].append({"name": "new", "url": f"http://127.0.0.1:{port}"})
    turns = itertools.count()

    async def new_serves() -> bool:
        return (await gateway.chat(f"{next(turns)} " * 100)).headers["x-kvgate-replica"] == "new"

    async with gateway.configured(providers=providers):
        await until(new_serves, lambda: "the new replica never served")
        served = {(await gateway.chat(f"{turn} " * 100)).headers["x-kvgate-replica"] for turn in range(12)}
        assert gone not in served


async def test_a_bad_file_changes_nothing_and_says_why(gateway: Gateway) -> None:
    gateway.config["server"]["prot"] = 1
    gateway.write_config()
    await gateway.until_logged("the configuration stays as it was")
    assert 'did you mean "port"' in gateway.log
    assert (await gateway.chat("hello")).status == 200
    del gateway.config["server"]["prot"]
    await gateway.reconfigure(gateway.config)


async def test_sighup_reads_the_file_at_once(gateway: Gateway) -> None:
    reloads = gateway.log.count("configuration reloaded")
    gateway.process.send_signal(signal.SIGHUP)
    await gateway.until_logged("configuration reloaded", times=reloads + 1)


async def test_streams_in_flight_end_before_the_gateway_does() -> None:
    async with Gateway(replicas=1, provider={"tokens_per_second": 100}) as gateway:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 150, "stream": True}
        async with gateway.http.post("/v1/chat/completions", json=body) as response:
            await response.content.readany()
            gateway.process.send_signal(signal.SIGTERM)
            assert (await response.text()).rstrip().endswith("data: [DONE]")
        assert await asyncio.wait_for(gateway.process.wait(), 20) == 0


@pytest.mark.parametrize("command", ["serve", "envoy", "r0"])
async def test_a_child_that_dies_is_started_again(gateway: Gateway, command: str) -> None:
    pid, deaths = gateway.pid(command), gateway.log.count("was killed by SIGKILL after")
    gateway.kill(command)
    await until(lambda: running(gateway, command) not in (None, pid), lambda: f"{command} did not come back")

    await until(lambda: serves(gateway), lambda: "no answer")
    assert gateway.log.count("was killed by SIGKILL after") == deaths + 1


async def test_requests_that_died_with_envoy_are_counted_out(gateway: Gateway) -> None:
    await gateway.until_whole()
    for name in gateway.replicas:
        await gateway.fault(name, mode="slow", factor=100)
    routed = gateway.log.count("prefix_kv_aware/")
    lost = [asyncio.create_task(gateway.chat(f"{n} " * 50, stream=True, max_tokens=400)) for n in range(6)]
    await until(lambda: gateway.log.count("prefix_kv_aware/") >= routed + 6, lambda: gateway.log[-2000:])
    gateway.kill("envoy")
    assert all(isinstance(end, aiohttp.ClientError) for end in await asyncio.gather(*lost, return_exceptions=True))
    await gateway.until_logged("6 requests were never reported as finished; counted out")
    for name in gateway.replicas:
        await gateway.fault(name, mode="ok")
    await until(lambda: serves(gateway), lambda: "no answer")
    await until(gateway.counts_no_request, lambda: gateway.log[-2000:])


async def test_nothing_is_left_running_after_the_end() -> None:
    async with Gateway(replicas=1) as gateway:
        children = psutil.Process(gateway.process.pid).children(recursive=True)
        assert len(children) == 3
        gateway.process.send_signal(signal.SIGINT)
        await asyncio.wait_for(gateway.process.wait(), 20)
        assert not [child for child in children if child.is_running()]


async def test_children_do_not_outlive_a_supervisor_that_was_killed() -> None:
    async with Gateway(replicas=1) as gateway:
        children = psutil.Process(gateway.process.pid).children(recursive=True)
        gateway.process.kill()
        await gateway.process.wait()
        await until(lambda: not any(alive(child) for child in children), lambda: f"still there: {children}")


async def test_two_gateways_live_side_by_side(gateway: Gateway) -> None:
    async with Gateway(replicas=1) as other:
        for each in (gateway, other):
            assert (await each.chat("hello")).headers["x-kvgate-replica"] in each.replicas


async def test_a_port_that_is_taken_is_named_before_anything_starts(gateway: Gateway) -> None:
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "run", "-c", str(gateway.dir / "kvgate.yaml")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert complaint.decode() == (
        f"kvgate: cannot listen on 127.0.0.1:{gateway.port} (Address already in use); change server.port\n"
    )


async def test_the_processor_speaks_health_and_reflection(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(f"unix:{gateway.dir}/run/processor.sock") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "envoy.service.ext_proc.v3.ExternalProcessor"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await call.read()).list_services_response.service
        assert "envoy.service.ext_proc.v3.ExternalProcessor" in [service.name for service in listed]
        call.cancel()


async def test_what_the_engine_says_it_cached_is_near_what_was_predicted(gateway: Gateway) -> None:
    story = "All happy fleets are alike; each unhappy fleet is unhappy in its own way. " * 40
    await gateway.chat(story)
    again = await gateway.chat(story)
    predicted = int(again.headers["x-kvgate-predicted-cached-tokens"])
    cached = json.loads(await again.text())["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert predicted == pytest.approx(cached, rel=0.3)


async def serves(gateway: Gateway) -> bool:
    try:
        return (await gateway.chat("hello")).status == 200
    except OSError:
        return False


def running(gateway: Gateway, command: str) -> int | None:
    try:
        return gateway.pid(command)
    except LookupError:
        return None


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
