"""Data-parallel ranks: one address in Envoy, a header to the replica, a place of their own in the fleet."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry

from extproc.admin.errors import NotFound, NotNow, Taken
from extproc.admin.parts import Parts
from extproc.admin.v1 import admin_pb2 as pb
from extproc.config.build import build
from extproc.config.settings import Settings
from extproc.config.topology import KvFeed, Pool, Replica, Topology
from extproc.control.resources import Upstream, clusters, load_assignments
from extproc.fleet.events import CapacityReported, LoadReported, ReplicaUp
from extproc.fleet.feeds import addresses
from extproc.fleet.feeds.access_log import finished
from extproc.gateway.catalog import Directory
from extproc.operations.live import Configuration
from extproc.server import Processor
from tests.unit.metrics_pages import Engine, page, reading
from tests.unit.test_gateway_exchange import Bench, set_headers, topology
from tests.unit.test_operations import running

A, B = Replica("a", "10.0.0.1", 8000), Replica("b", "10.0.0.2", 8000)
RANKS = (A.of_rank(0), A.of_rank(1), B.of_rank(0), B.of_rank(1))
ADDRESSES = {each.name: (each.host, each.port) for each in RANKS}


def test_a_rank_has_a_feed_of_its_own() -> None:
    feed = replace(A, kv_feed=KvFeed("tcp://h:5557", "tcp://h:5567")).of_rank(1).kv_feed
    assert feed == KvFeed("tcp://h:5558", "tcp://h:5568")


class TestEnvoy:
    def test_the_ranks_of_a_process_are_one_endpoint_with_their_weights_added(self) -> None:
        (assignment,) = load_assignments(Topology({}, {"p": Pool("p", RANKS)}, "p"), ADDRESSES)
        endpoints = assignment["endpoints"][0]["lb_endpoints"]
        assert [each["metadata"]["filter_metadata"]["kvgate"]["replica"] for each in endpoints] == ["a", "b"]
        assert [each["load_balancing_weight"] for each in endpoints] == [200, 200]

    def test_a_cluster_of_its_own_holds_a_replica_with_all_its_ranks(self) -> None:
        alone = replace(A, cluster="only-a")
        found = load_assignments(Topology({}, {"p": Pool("p", (alone.of_rank(0), alone.of_rank(1)))}, "p"), ADDRESSES)
        assert [(each["cluster_name"], len(each["endpoints"][0]["lb_endpoints"])) for each in found] == [
            ("p", 1),
            ("only-a", 1),
        ]

    def test_a_pool_without_a_health_page_is_not_asked_for_it(self) -> None:
        hosted = Topology({}, {"p": Pool("p", (A,), health_path="")}, "p")
        assert clusters(hosted, Upstream())[0]["health_checks"] == []

    def test_the_access_log_knows_the_process_and_the_gateway_the_rank(self) -> None:
        entry = HTTPAccessLogEntry()
        common = entry.common_properties
        common.upstream_remote_address.socket_address.address = "10.0.0.1"
        common.upstream_remote_address.socket_address.port_value = 8000
        common.time_to_first_upstream_rx_byte.nanos = 1
        assert finished(entry, {("10.0.0.1", 8000): "a"}, 0.0).served == "a"
        common.metadata.filter_metadata["kvgate"]["rank_suffix"] = "~1"
        assert finished(entry, {("10.0.0.1", 8000): "a"}, 0.0).served == "a~1"
        assert finished(entry, {}, 0.0).served is None

    async def test_the_ranks_of_a_process_have_one_address_whatever_names_resolve_to(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter(["10.0.0.7", "10.0.0.8"])  # a name that goes round, asked once

        async def turning(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            return [(socket.AF_INET, None, None, "", (next(answers), port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", turning)
        named = {each.name: replace(each, host="vllm.svc") for each in RANKS[:2]}
        assert await addresses.resolve(named, {}) == {"a~0": ("10.0.0.7", 8000), "a~1": ("10.0.0.7", 8000)}


class TestTheRequestPath:
    def bench(self) -> Bench:
        bench = Bench(topology(*RANKS))
        catalog = bench.gateway.catalog
        catalog.current = replace(catalog.current, addresses=ADDRESSES)
        for name in ADDRESSES:
            bench.fleet.apply(ReplicaUp(0.0, name))
        return bench

    async def test_a_rank_is_asked_for_by_header_and_only_its_like_follow(self) -> None:
        bench, firsts = self.bench(), set()
        for turn in range(4):
            answer = await bench.post({"model": "m", "messages": [{"role": "user", "content": f"{turn} " * 500}]})
            headers = set_headers(answer)
            listed, rank = headers["x-gateway-destination-endpoint"].split(","), headers["x-data-parallel-rank"]
            assert sorted(listed) == ["10.0.0.1:8000", "10.0.0.2:8000"], "each address once"
            assert answer.dynamic_metadata["kvgate"]["rank_suffix"] == f"~{rank}"
            firsts.add((listed[0], rank))
        assert len(firsts) == 4, "each rank had one of the cold prompts"

    async def test_a_replica_without_ranks_gets_no_header(self) -> None:
        answer = await Bench().post({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
        assert "x-data-parallel-rank" not in set_headers(answer)
        assert "rank_suffix" not in answer.dynamic_metadata["kvgate"]

    def test_an_address_is_that_of_a_process(self) -> None:
        current = self.bench().gateway.catalog.current
        assert isinstance(current, Directory)
        assert current.replica_at == {("10.0.0.1", 8000): "a", ("10.0.0.2", 8000): "b"}


class TestMetrics:
    async def test_one_page_tells_the_load_and_the_capacity_of_each_rank(self) -> None:
        lines = [
            f'vllm:num_requests_running{{engine="{rank}"}} {rank}\n'
            f'vllm:num_requests_waiting{{engine="{rank}"}} 0\n'
            f'vllm:kv_cache_usage_perc{{engine="{rank}"}} 0.{rank}\n'
            f'vllm:cache_config_info{{block_size="16",engine="{rank}",num_gpu_blocks="200"}} 1\n'
            for rank in (0, 1)
        ]
        async with Engine(page("".join(lines))) as engine, reading({"a": engine.url}) as feed:
            feed.ranks = {"a": ("a~0", "a~1")}
            await feed.readings(2)
            assert [(each.replica, each.running, each.kv_usage) for each in feed.loads[-2:]] == [
                ("a~0", 0, 0.0),
                ("a~1", 1, 0.1),
            ]
            told = {each.replica: each for each in feed.events if isinstance(each, CapacityReported)}
            assert {name: each.kv_tokens for name, each in told.items()} == {"a~0": 1600, "a~1": 1600}
            assert engine.connections == 1

    async def test_a_page_that_lacks_a_rank_is_no_page_of_this_replica(self) -> None:
        lines = 'vllm:num_requests_running{engine="0"} 0\nvllm:num_requests_waiting{engine="0"} 0\n'
        async with Engine(page(lines)) as engine, reading({"a": engine.url}) as feed:
            feed.ranks = {"a": ("a~0", "a~1")}
            await feed.fault()
            assert feed.faults == [("a", "no metrics")]
            assert not any(isinstance(each, LoadReported) for each in feed.events)


def two_replicas(**provider: Any) -> Configuration:
    listed = [{"name": name, "url": f"http://127.0.0.1:{port}"} for name, port in (("a", 8097), ("b", 8098))]
    settings = Settings.model_validate(
        {
            "providers": [{"name": "p", "replicas": listed, "data_parallel_size": 2, **provider}],
            "models": [{"name": "m", "deployments": [{"provider": "p"}]}],
        }
    )
    return Configuration(settings, build(settings))


async def managed() -> tuple[Processor, Parts]:
    return await running(two_replicas())


def shown(parts: Parts) -> dict[str, pb.Replica]:
    return {each.name: each for each in parts.replicas.list().replicas}


class TestOperations:
    async def test_each_rank_is_shown_and_a_replica_drains_with_all_of_them(self) -> None:
        for name in ("a", "a~1"):
            processor, parts = await managed()
            assert shown(parts).keys() == {"a~0", "a~1", "b~0", "b~1"}
            await parts.replicas.drain(pb.DrainReplicaRequest(name=name))
            assert {each.name for each in processor.fleet.replicas.values() if each.draining} == {"a~0", "a~1"}
            assert shown(parts)["a~0"].changed
            await parts.replicas.undrain(pb.UndrainReplicaRequest(name=name))
            assert not any(each.draining for each in processor.fleet.replicas.values())

    async def test_a_weight_is_that_of_each_rank(self) -> None:
        processor, parts = await managed()
        await parts.replicas.set_weight(pb.SetReplicaWeightRequest(name="a", weight=3))
        options = processor.gateway.catalog.current.options["m"]
        assert {each.name: each.weight for each in options} == {"a~0": 3, "a~1": 3, "b~0": 1, "b~1": 1}

    async def test_a_replica_is_removed_and_added_with_all_its_ranks(self) -> None:
        processor, parts = await managed()
        await parts.replicas.remove(pb.RemoveReplicaRequest(name="a"))
        assert set(processor.fleet.replicas) == {"b~0", "b~1"}
        assert {name for name, each in shown(parts).items() if each.state == "removed"} == {"a~0", "a~1"}
        with pytest.raises(NotNow, match="Nobody else serves m"):
            await parts.replicas.remove(pb.RemoveReplicaRequest(name="b~0"))
        added = await parts.replicas.add(pb.AddReplicaRequest(provider="p", url="http://127.0.0.1:9", name="new"))
        assert (added.name, getattr(added, "from")) == ("new~0", "admin")
        assert set(processor.fleet.replicas) == {"b~0", "b~1", "new~0", "new~1"}
        with pytest.raises(Taken):
            await parts.replicas.add(pb.AddReplicaRequest(provider="p", url="http://127.0.0.1:10", name="new"))
        with pytest.raises(NotFound):
            await parts.replicas.drain(pb.DrainReplicaRequest(name="b~2"))
