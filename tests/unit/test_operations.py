"""What operators change in a processor that runs, without a server around it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extproc.admin.errors import Invalid, NotFound, NotNow, Refused, Taken
from extproc.admin.parts import Parts
from extproc.admin.v1 import admin_pb2 as pb
from extproc.clock import ManualClock
from extproc.config.errors import ConfigError, Problem
from extproc.config.settings import Settings
from extproc.config.topology import HostTier
from extproc.control.resources import load_assignments
from extproc.fleet.events import HostTierReported, RemoteTierReported, Usage
from extproc.metering.metering import End, Metered
from extproc.operations.totals import OTHER, Totals
from extproc.server import Configuration, Processor
from tests.unit.say import chain, routed, served
from tests.unit.test_server_reload import configuration


async def running(file: Configuration | None = None, **options: Any) -> tuple[Processor, Parts]:
    """One that has taken its configuration and is not serving."""
    begin = file or configuration()
    processor = Processor(begin, clock=ManualClock(), **options)
    await processor.reconfigure(begin)
    return processor, processor._admin._parts


def names(processor: Processor) -> set[str]:
    return set(processor.fleet.replicas)


async def test_an_added_replica_is_in_the_fleet_in_envoy_and_on_the_request_path() -> None:
    processor, parts = await running()
    added = await parts.replicas.add(pb.AddReplicaRequest(provider="p", url="http://127.0.0.1:9", name="new", weight=2))
    assert (added.state, added.weight, getattr(added, "from"), list(added.models)) == ("in_doubt", 2, "admin", ["m"])
    directory = processor.gateway.catalog.current
    assert names(processor) == {"a", "b", "new"}
    assert directory.endpoints["new"] == "127.0.0.1:9"
    assert "new" in {option.name for option in directory.options["m"]}
    assert directory.health_urls["new"] == "http://127.0.0.1:9/health"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"provider": "", "url": "http://127.0.0.1:9"}, Invalid),
        ({"provider": "p", "url": ""}, Invalid),
        ({"provider": "p", "url": "ftp://h"}, Invalid),
        ({"provider": "p", "url": "http://127.0.0.1:9?x=1"}, Invalid),
        ({"provider": "p", "url": "http://127.0.0.1:9", "name": "no spaces"}, Invalid),
        ({"provider": "p", "url": "http://127.0.0.1:9", "name": "n" * 129}, Invalid),
        ({"provider": "p", "url": "http://127.0.0.1:9", "weight": -1.0}, Invalid),
        ({"provider": "p", "url": "http://127.0.0.1:9", "weight": float("nan")}, Invalid),
        ({"provider": "q", "url": "http://127.0.0.1:9"}, NotFound),
        ({"provider": "p", "url": "http://127.0.0.1:9", "name": "a"}, Taken),
        ({"provider": "p", "url": f"http://127.0.0.1:{8000 + ord('a')}", "name": "z"}, Taken),
    ],
)
async def test_a_replica_that_cannot_be_added_changes_nothing(request_: dict[str, Any], error: type[Refused]) -> None:
    processor, parts = await running()
    before = processor.gateway.catalog.current
    with pytest.raises(error):
        await parts.replicas.add(pb.AddReplicaRequest(**request_))
    assert processor.gateway.catalog.current is before
    assert names(processor) == {"a", "b"}


async def test_a_draining_replica_keeps_what_it_has_and_is_no_candidate() -> None:
    processor, parts = await running()
    processor.fleet.apply(routed("t", "a", chain(1, 2)))
    drained = await parts.replicas.drain(pb.DrainReplicaRequest(name="a"))
    assert (drained.state, drained.inflight, drained.changed) == ("draining", 1, True)
    assert processor.fleet.replicas["a"].draining
    processor.fleet.apply(served("t", "a"))
    assert processor.fleet.replicas["a"].inflight == 0
    back = await parts.replicas.undrain(pb.UndrainReplicaRequest(name="a"))
    assert (back.changed, processor.fleet.replicas["a"].draining) == (False, False)


@pytest.mark.parametrize("what", ["drain", "remove"])
async def test_the_last_replica_of_a_model_stays_unless_forced(what: str) -> None:
    processor, parts = await running()
    await parts.replicas.drain(pb.DrainReplicaRequest(name="a"))
    request = pb.DrainReplicaRequest(name="b") if what == "drain" else pb.RemoveReplicaRequest(name="b")
    with pytest.raises(NotNow, match="Nobody else serves m"):
        await getattr(parts.replicas, what)(request)
    request.force = True
    await getattr(parts.replicas, what)(request)
    assert not processor.gateway.ready


async def test_two_drains_at_once_do_not_leave_a_model_without_replicas() -> None:
    processor, parts = await running()
    drains = (parts.replicas.drain(pb.DrainReplicaRequest(name=name)) for name in ("a", "b"))
    answers = await asyncio.gather(*drains, return_exceptions=True)
    assert [type(answer) for answer in answers] == [pb.Replica, NotNow]
    assert not processor.fleet.replicas["b"].draining


async def test_a_provider_keeps_its_last_replica_even_when_forced() -> None:
    processor, parts = await running()
    await parts.replicas.remove(pb.RemoveReplicaRequest(name="a"))
    with pytest.raises(NotNow, match="no replica left"):
        await parts.replicas.remove(pb.RemoveReplicaRequest(name="b", force=True))
    assert names(processor) == {"b"}


async def test_changes_outlive_a_new_file_and_end_with_what_they_were_about() -> None:
    processor, parts = await running()
    await parts.replicas.add(pb.AddReplicaRequest(provider="p", url="http://127.0.0.1:9", name="new"))
    await parts.replicas.drain(pb.DrainReplicaRequest(name="b"))
    await processor.reconfigure(configuration(("a", "b", "c")))
    assert names(processor) == {"a", "b", "c", "new"}
    assert processor.fleet.replicas["b"].draining
    await processor.reconfigure(configuration(("a", "c")))
    assert names(processor) == {"a", "c", "new"}


async def test_a_file_that_contradicts_a_change_changes_nothing() -> None:
    processor, parts = await running()
    await parts.replicas.add(pb.AddReplicaRequest(provider="p", url="http://127.0.0.1:9", name="c"))
    before = processor.gateway.catalog.current
    with pytest.raises(ConfigError, match="remove that one first"):
        await processor.reconfigure(configuration(("a", "b", "c")))
    assert processor.gateway.catalog.current is before


async def test_what_envoy_would_not_take_changes_nothing() -> None:
    """A cluster of a replica's own that has the name of a pool is found out only when Envoy's resources are made."""
    processor, _ = await running()
    bad = configuration()
    pool = next(iter(bad.topology.pools.values()))
    clash = replace(pool, replicas=(replace(pool.replicas[0], cluster=pool.name), *pool.replicas[1:]))
    topology = replace(bad.topology, pools={pool.name: clash})
    before = processor.gateway.catalog.current
    with pytest.raises(ValueError, match="taken"):
        await processor.reconfigure(replace(bad, topology=topology))
    assert processor.gateway.catalog.current is before
    assert names(processor) == {"a", "b"}


async def test_a_reload_that_fails_is_remembered_until_one_succeeds(tmp_path: Path) -> None:
    files: list[Configuration | Exception] = [
        ConfigError([Problem(("x",), "unknown key", 3)], "kvgate.yaml"),
        OSError("gone"),
        configuration(("a", "b", "c")),
    ]

    def read() -> Configuration:
        file = files.pop(0)
        if isinstance(file, Exception):
            raise file
        return file

    processor, parts = await running(reload=read, path=tmp_path / "kvgate.yaml")
    for says in ("kvgate.yaml:3: x: unknown key", "gone"):
        with pytest.raises(NotNow, match=says):
            await parts.configuration.reload()
        assert parts.overview.status().config_error == says
        assert names(processor) == {"a", "b"}
    assert (await parts.configuration.reload()).replicas == 3
    assert parts.overview.status().config_error == ""


async def test_without_a_file_there_is_nothing_to_reload() -> None:
    _, parts = await running()
    with pytest.raises(NotNow, match="without a file"):
        await parts.configuration.reload()


async def test_status_warns_of_what_an_operator_should_know() -> None:
    _, parts = await running(replace(configuration(), warnings=("kvgate.yaml:7: old",)))
    await parts.replicas.drain(pb.DrainReplicaRequest(name="a"))
    warnings = "\n".join(parts.overview.status().warnings)
    for said in ("No Envoy", "Not known to serve: a, b", "Draining: a", "until the next start: a drains", ":7: old"):
        assert said in warnings


def metered(tenant: str, status: int = 200) -> Metered:
    end = End(status, 2, Usage(), True, 10, 0.1, 0.1)
    return Metered("m", "p", tenant, False, end, 10, 5, 2, 1_000_000, False)


def test_totals_do_not_grow_with_the_names_of_tenants() -> None:
    totals = Totals()
    for number in range(3000):
        totals.metered(metered(f"tenant-{number}"))
        totals.refused("rate_limited", 429, f"tenant-{number}")
    assert len(totals.tenants) <= 1001
    assert totals.tenants[OTHER].requests == totals.tenants[OTHER].rate_limited == 2000
    assert (totals.requests, totals.failovers, totals.models["m"].tokens.cached) == (6000, 3000, 15_000)


async def test_envoy_is_told_who_drains_so_that_its_own_choices_pass_them_by() -> None:
    processor, parts = await running()
    await parts.replicas.drain(pb.DrainReplicaRequest(name="a"))
    directory = processor.gateway.catalog.current
    (assignment,) = load_assignments(directory.topology, directory.addresses)
    (endpoints,) = assignment["endpoints"]
    status = {
        each["metadata"]["filter_metadata"]["kvgate"]["replica"]: each.get("health_status")
        for each in endpoints["lb_endpoints"]
    }
    assert status == {"a": "DRAINING", "b": None}


async def test_a_flush_is_for_a_tenant_or_for_a_scope_that_tenants_share() -> None:
    file = configuration()
    tenants = [{"name": "x", "cache_scope": "team"}, {"name": "y"}, {"name": "team"}]
    settings = Settings.model_validate({**dict(file.settings), "tenants": tenants})
    _, parts = await running(replace(file, settings=settings))
    meant = {"": [], "x": ["shared:team"], "y": ["tenant:y"], "team": ["shared:team", "tenant:team"]}
    meant |= {"shared:team": ["shared:team"], "tenant:team": ["tenant:team"]}
    for scope, scopes in meant.items():
        assert list((await parts.caches.flush(pb.FlushCachesRequest(scope=scope))).scopes) == scopes
    for scope in ("nobody", "tenant:nobody", "shared:nobody", ":", "tenant:"):
        with pytest.raises(NotFound):
            await parts.caches.flush(pb.FlushCachesRequest(scope=scope))


async def test_what_is_behind_a_replica_is_shown_with_it() -> None:
    processor, parts = await running()
    processor.fleet.apply(HostTierReported(0.0, "a", HostTier(1000)))
    for name in ("a", "b"):
        processor.fleet.apply(RemoteTierReported(0.0, name, 5000))
    processor.fleet.index.store("a", chain(1, 2))
    for shown in (parts.replicas.list().replicas, parts.index.get().replicas):
        held = {each.name: (each.host_tier_tokens, each.remote_tier_tokens) for each in shown}
        assert held == {"a": (20, 20), "b": (0, 20)}
