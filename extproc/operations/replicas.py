"""The replicas as an operator sees and changes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from extproc.admin.errors import Invalid, NotFound, NotNow, Taken
from extproc.admin.v1 import admin_pb2 as pb
from extproc.clock import Clock
from extproc.config import providers as configured
from extproc.config.addresses import Origin, address_of
from extproc.config.build import targets_of
from extproc.config.complaints import complaints
from extproc.config.errors import ConfigError
from extproc.config.overlay import Addition, Overlay
from extproc.config.topology import Replica, Topology, host_port
from extproc.fleet.state import Fleet
from extproc.gateway.decisions import Decisions
from extproc.operations.live import Configuration, LiveConfiguration

_HEAVIEST = 1e6


@dataclass(slots=True)
class Placement:
    """Where a replica, or a data-parallel rank of one, stands in the configuration."""

    replica: Replica
    provider: str
    pools: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def placements(configuration: Configuration) -> dict[str, Placement]:
    """Of all replicas of a configuration, by name; one with data-parallel ranks is there by rank."""
    found: dict[str, Placement] = {}
    origins: Mapping[str, tuple[Origin, ...]] = targets_of(configuration.settings)
    for provider, group in origins.items():
        for origin in group:
            found.setdefault(origin.replica.name, Placement(origin.replica, provider))
    for model in configuration.topology.models.values():
        for target in model.targets:
            for replica in target.pool.replicas:
                placement = found[replica.name]
                if target.pool.name not in placement.pools:
                    placement.pools.append(target.pool.name)
                if model.name not in placement.models:
                    placement.models.append(model.name)
    return found


class Replicas:
    """See `admin.parts.Replicas`.

    What is changed is a replica as a whole. It goes by its own name or that of any of its data-parallel ranks.
    """

    def __init__(self, live: LiveConfiguration, fleet: Fleet, decisions: Decisions, clock: Clock) -> None:
        self._live = live
        self._fleet = fleet
        self._decisions = decisions
        self._clock = clock
        self._placed: tuple[Configuration, dict[str, Placement]] | None = None

    def list(self) -> pb.Replicas:
        return pb.Replicas(replicas=[*self._present(), *self._removed()])

    async def add(self, request: pb.AddReplicaRequest) -> pb.Replica:
        replica = _replica(request)
        addition = Addition(request.provider, replica)
        current = self._live.current
        provider = next((each for each in current.settings.providers if each.name == request.provider), None)
        if provider is None:
            known = ", ".join(each.name for each in current.settings.providers)
            raise NotFound(f"No provider is named {request.provider!r}; there are: {known}.")
        if not any(each.provider == provider.name for model in current.settings.models for each in model.deployments):
            raise NotNow(f"Provider {provider.name!r} serves no model: a replica of it would get no requests.")
        address = address_of(replica.url)
        for placed in self._placements().values():
            name = placed.replica.process
            if name == addition.name:
                raise Taken(f"A replica is named {name!r} already.")
            if (placed.replica.host, placed.replica.port) == address:
                raise Taken(f"The replica at {host_port(*address)} is there already, as {name!r}.")
        await self._change(lambda overlay: overlay.with_added(addition))
        return self._view(self._find(addition.name).replica.name)

    async def remove(self, request: pb.RemoveReplicaRequest) -> pb.Replica:
        replica = self._find(request.name).replica
        view, name = self._view(replica.name), replica.process
        await self._change(lambda overlay: self._spared(name, request.force, overlay.with_removed(name)))
        view.state = "removed"
        return view

    async def drain(self, request: pb.DrainReplicaRequest) -> pb.Replica:
        replica = self._find(request.name).replica
        name = replica.process
        if not replica.draining:
            await self._change(lambda overlay: self._spared(name, request.force, overlay.with_draining(name, True)))
        return self._view(replica.name)

    async def undrain(self, request: pb.UndrainReplicaRequest) -> pb.Replica:
        replica = self._find(request.name).replica
        if replica.draining:
            await self._change(lambda overlay: overlay.with_draining(replica.process, False))
        return self._view(replica.name)

    async def set_weight(self, request: pb.SetReplicaWeightRequest) -> pb.Replica:
        replica = self._find(request.name).replica
        if not (math.isfinite(request.weight) and 0 < request.weight <= _HEAVIEST):
            raise Invalid(f"weight must be above 0 and at most {_HEAVIEST:g}.")
        await self._change(lambda overlay: overlay.with_weight(replica.process, request.weight))
        return self._view(replica.name)

    async def _change(self, changed: Callable[[Overlay], Overlay]) -> None:
        try:
            await self._live.change(changed)
        except ConfigError as error:
            raise NotNow("; ".join(problem.text for problem in error.problems)) from None
        except ValueError as error:
            raise NotNow(str(error)) from None

    def _spared(self, name: str, force: bool, overlay: Overlay) -> Overlay:
        """The change that spares a replica, unless it would be missed. Asked when no other change is under way."""
        alone = served_by_alone(self._live.current.topology, name)
        if alone and not force:
            raise NotNow(f"Nobody else serves {', '.join(alone)}; with force, that model has no replica left.")
        return overlay

    def _placements(self) -> dict[str, Placement]:
        current = self._live.current
        if self._placed is None or self._placed[0] is not current:
            self._placed = current, placements(current)
        return self._placed[1]

    def _find(self, name: str) -> Placement:
        """The replica, or the rank, of this name; of a replica that has ranks, the first of them."""
        placed = self._placements()
        placement = placed.get(name) or next((each for each in placed.values() if each.replica.process == name), None)
        if placement is None:
            raise NotFound(f"No replica is named {name!r}.")
        return placement

    def _present(self) -> Iterator[pb.Replica]:
        for name in self._placements():
            yield self._view(name)

    def _removed(self) -> Iterator[pb.Replica]:
        removed = self._live.overlay.removed - {placed.replica.process for placed in self._placements().values()}
        if removed:
            for name, placement in placements(self._live.file).items():
                if placement.replica.process in removed:
                    yield _placed(name, placement, state="removed", origin="config", changed=True)

    def _view(self, name: str) -> pb.Replica:
        placement, overlay = self._placements()[name], self._live.overlay
        process = placement.replica.process
        state = self._fleet.replicas.get(name)
        view = _placed(
            name,
            placement,
            state="in_doubt",
            origin="admin" if any(each.name == process for each in overlay.added) else "config",
            changed=process in overlay.draining or process in overlay.weights,
        )
        if state is None:
            return view  # of a provider that serves no model
        now_s, index, lately = self._clock.now(), self._fleet.index, self._decisions.lately(name)
        held = {tier.kind: tier.tokens for tier in index.tiers(name)}
        view.state = "draining" if state.draining else "serving" if state.proven else "in_doubt"
        view.inflight = state.inflight
        view.others_inflight = state.busy(now_s) - state.inflight
        view.wait_s = state.wait_s(now_s)
        view.queued_tokens = state.queued_tokens
        view.prefill_tokens_per_s = state.speed.tokens_per_s
        view.base_s = state.speed.base_s
        view.index_tokens = index.tokens(name)
        view.capacity_tokens = state.capacity.tokens or 0
        view.host_tier_tokens = held.get("host", 0)
        view.remote_tier_tokens = held.get("remote", 0)
        view.kv_usage = state.kv_usage
        view.routed = state.routed
        view.failures = state.failures
        view.latency_s = state.latency_s or 0.0
        view.warm_share = lately.warm_share
        view.recent_ttft_s.extend(round(each, 4) for each in lately.ttft_s)
        return view


def served_by_alone(topology: Topology, name: str) -> list[str]:
    """Models that no other replica serves which does not drain."""
    alone = []
    for model in topology.models.values():
        replicas = [replica for target in model.targets for replica in target.pool.replicas]
        serving = {replica.process for replica in replicas if not replica.draining}
        if serving == {name}:
            alone.append(model.name)
    return alone


def _replica(request: pb.AddReplicaRequest) -> configured.Replica:
    """What is to be added, named.

    Raises:
        Invalid: it cannot be used.
    """
    if not request.provider:
        raise Invalid("provider is required.")
    values: dict[str, Any] = {"url": request.url, "weight": request.weight or 1.0, "name": request.name or None}
    try:
        replica = configured.Replica.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        problems = complaints(faults, configured.Replica, {(key,) for key in values})
        raise Invalid("; ".join(problem.write(None) for problem in problems) + ".") from None
    url = replica.url
    if url.username or url.password or url.query or url.fragment:
        raise Invalid("url: must not hold credentials, a query or a fragment.")
    if replica.weight > _HEAVIEST:
        raise Invalid(f"weight: must be at most {_HEAVIEST:g}.")
    name = replica.name or host_port(*address_of(url))
    return replica.model_copy(update={"name": name})


def _placed(name: str, placement: Placement, *, state: str, origin: str, changed: bool) -> pb.Replica:
    replica = placement.replica
    _from: dict[str, Any] = {"from": origin}  # a keyword of Python
    return pb.Replica(
        name=name,
        address=host_port(replica.host, replica.port),
        pool=",".join(placement.pools),
        provider=placement.provider,
        models=placement.models,
        state=state,
        weight=replica.weight,
        changed=changed,
        **_from,
    )
