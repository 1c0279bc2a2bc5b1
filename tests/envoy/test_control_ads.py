"""A running Envoy follows the published snapshots."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from extproc.config.topology import Replica, Topology
from extproc.control.ads import AggregatedDiscovery
from extproc.control.snapshot import Snapshot, TypeSnapshot
from tests.envoy.engine import Engine
from tests.envoy.plumbing import Gateway, addresses, gateway, topology, until
from tests.envoy.processor_double import Decision


async def test_a_replica_that_is_added_or_removed_appears_or_disappears(tmp_path: Path) -> None:
    async with gateway(tmp_path, engines=3) as g:
        first, second, third = g.engines
        g.publish(topology(first.replica))
        await g.envoy.until_endpoints("pool", [first.port])
        g.publish(topology(*(engine.replica for engine in g.engines)))
        await g.envoy.until_endpoints("pool", [first.port, second.port, third.port])
        g.processor.decide = lambda h, b: Decision("pool", (third.address,))
        _, headers, _ = await g.post()
        assert headers["x-kvgate-replica"] == third.name


async def test_a_healthy_replica_that_is_removed_gets_no_more_requests(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        removed, kept = g.engines
        g.publish(topology(kept.replica))
        await g.envoy.until_endpoints("pool", [kept.port])
        g.processor.decide = lambda h, b: Decision("pool", (removed.address,))
        _, headers, _ = await g.post()
        assert headers["x-kvgate-replica"] == kept.name


async def test_pools_come_and_go(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        one, two = (engine.replica for engine in g.engines)
        g.publish(topology(one, pool="other"))
        await g.envoy.until_endpoints("other", [one.port])

        async def only_the_new_one() -> bool:
            return set(await g.envoy.endpoints()) == {"kvgate_processor", "other", "kvgate-default"}

        await until(only_the_new_one, "the old pool is gone")
        assert (await g.post())[1]["x-kvgate-replica"] == one.name, "the default follows"
        g.publish(topology(two, pool="pool"))
        await g.envoy.until_endpoints("pool", [two.port])


async def test_a_cluster_whose_settings_change_keeps_its_endpoints(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        fleet = topology(*(engine.replica for engine in g.engines), health_path="/health?new")
        g.publish(fleet)

        async def changed() -> bool:
            dump = json.loads(await g.envoy.admin("/config_dump?resource=dynamic_active_clusters"))
            return "/health?new" in json.dumps(dump)

        # a cluster that gets no endpoints again stays warming for 15 s
        await until(changed, "the new settings are active", deadline_s=5)
        await g.envoy.until_endpoints("pool", [engine.port for engine in g.engines])
        assert (await g.post())[0] == 200


async def test_requests_do_not_fail_while_snapshots_change(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        for round_number in range(6):
            g.publish(topology(*(e.replica for e in g.engines), health_path=f"/health?{round_number}"))
            for _ in range(5):
                assert (await g.post())[0] == 200


async def test_a_snapshot_that_envoy_rejects_changes_nothing_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(tmp_path) as g:
        good = topology(*(engine.replica for engine in g.engines))
        snapshot = Snapshot.of(good, addresses(good))
        bad = TypeSnapshot.of({"pool": Cluster(name="pool", type=Cluster.EDS)}).resources
        clusters = TypeSnapshot("bad", {**snapshot.clusters.resources, **bad})
        with caplog.at_level(logging.ERROR, "extproc.control.ads"):
            g.processor.ads.publish(dataclasses.replace(snapshot, clusters=clusters))
            await until(lambda: said(caplog), "the rejection is logged")
        assert (await g.post())[0] == 200
        g.publish(topology(g.engines[0].replica))
        await g.envoy.until_endpoints("pool", [g.engines[0].port])
        assert len(caplog.records) == 1
        assert "kvgate rejected Cluster" in caplog.text


async def test_after_a_restart_of_the_processor_envoy_follows_the_new_one(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        await g.processor.stop()
        g.processor.ads = AggregatedDiscovery()
        g.publish(topology(g.engines[1].replica))
        await g.processor.start()
        await g.envoy.until_endpoints("pool", [g.engines[1].port])


async def test_a_replica_that_fails_health_checks_is_not_chosen_unless_the_processor_names_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, engines=3) as g:
        sick, well, _ = g.engines
        sick.health_status = 500
        await until(lambda: is_failing(g, sick), "the replica is seen as failing")
        for _ in range(10):
            assert (await g.post())[1]["x-kvgate-replica"] != sick.name
        # override_host takes the processor's word over its own health checks
        g.processor.decide = lambda h, b: Decision("pool", (sick.address, well.address))
        assert (await g.post())[1]["x-kvgate-replica"] == sick.name


async def test_a_fleet_in_which_nobody_is_healthy_is_still_tried(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        for engine in g.engines:
            engine.health_status = 500

        async def nobody() -> bool:
            return set((await g.envoy.endpoints())["pool"].values()) == {"failing"}

        await until(nobody, "nobody is healthy")
        assert (await g.post())[0] == 200


async def test_an_empty_configuration_can_be_filled_later(tmp_path: Path) -> None:
    async with gateway(tmp_path, fleet=Topology({}, {}, None)) as g:
        assert (await g.post())[0] == 503
        replica: Replica = g.engines[0].replica
        g.publish(topology(replica))
        await g.envoy.until_endpoints("pool", [replica.port])
        assert (await g.post())[0] == 200


async def said(caplog: pytest.LogCaptureFixture) -> bool:
    return bool(caplog.records)


async def is_failing(g: Gateway, engine: Engine) -> bool:
    return (await g.envoy.endpoints()).get("pool", {}).get(engine.address) == "failing"
