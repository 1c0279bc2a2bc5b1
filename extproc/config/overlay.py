"""What was changed in the fleet while it ran, laid over the settings of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from . import providers as configured
from .addresses import address_of, origins_of, replica_urls
from .errors import ConfigError, Problem
from .settings import Settings
from .topology import host_port


@dataclass(frozen=True, slots=True)
class Addition:
    """A replica that the file does not have.

    Args:
        replica: named.
    """

    provider: str
    replica: configured.Replica

    @property
    def name(self) -> str:
        return self.replica.name or host_port(*address_of(self.replica.url))


@dataclass(frozen=True, slots=True)
class Overlay:
    """Changes by name of the replica. What names nobody has no effect.

    Args:
        added: in the order in which they were.
        removed: of those in the file.
        draining: whether it drains, whatever the file says.
        weights: in place of those in the file.
    """

    added: tuple[Addition, ...] = ()
    removed: frozenset[str] = frozenset()
    draining: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.draining or self.weights)

    def with_added(self, addition: Addition) -> Overlay:
        return replace(self._without(addition.name), added=(*self.added, addition))

    def with_removed(self, name: str) -> Overlay:
        """Without it, wherever it comes from."""
        if any(each.name == name for each in self.added):
            return replace(self._without(name), added=tuple(each for each in self.added if each.name != name))
        return replace(self._without(name), removed=self.removed | {name})

    def with_draining(self, name: str, draining: bool) -> Overlay:
        return replace(self, draining=MappingProxyType({**self.draining, name: draining}))

    def with_weight(self, name: str, weight: float) -> Overlay:
        return replace(self, weights=MappingProxyType({**self.weights, name: weight}))

    def less(self, settings: Settings) -> Overlay:
        """Without what the file says anyway."""
        said = {each.name: each for _, replicas in _spelled_out(settings) for each in replicas}
        said |= {each.name: each.replica for each in self.added}
        draining = {
            name: value for name, value in self.draining.items() if name not in said or said[name].drain != value
        }
        weights = {
            name: value for name, value in self.weights.items() if name not in said or said[name].weight != value
        }
        return replace(self, draining=MappingProxyType(draining), weights=MappingProxyType(weights))

    def over(self, settings: Settings) -> Settings:
        """The settings with the changes in them.

        Raises:
            ConfigError: they contradict what the file has by now.
        """
        if not self:
            return settings
        taken = {origin.replica.name for group in origins_of(settings).values() for origin in group} - self.removed
        providers = []
        for provider, replicas in _spelled_out(settings):
            kept = [self._changed(each) for each in replicas if each.name not in self.removed]
            new = [
                self._changed(each.replica)
                for each in self.added
                if each.provider == provider.name and not self._is_in_file(each, kept)
            ]
            for each in new:
                if each.name in taken:
                    text = f'"{each.name}" was added while the gateway ran, at another address; remove that one first'
                    raise ConfigError([Problem(("providers",), text)])
            if not kept and not new:
                text = f'provider "{provider.name}" would have no replica left'
                raise ConfigError([Problem(("providers",), text)])
            providers.append(provider.model_copy(update={"replicas": (*kept, *new), "base_url": None}))
        # Validated as a whole: a copy alone would not be.
        values: dict[str, Any] = {**dict(settings), "providers": tuple(providers)}
        return Settings.model_validate(values)

    def sentences(self) -> Iterator[str]:
        """What was changed, for people."""
        for each in self.added:
            yield f"{each.name} was added to provider {each.provider} ({each.replica.url})"
        for name in sorted(self.removed):
            yield f"{name} was removed"
        for name, draining in sorted(self.draining.items()):
            yield f"{name} {'drains' if draining else 'does not drain'}"
        for name, weight in sorted(self.weights.items()):
            yield f"{name} has weight {weight:g}"

    def _changed(self, replica: configured.Replica) -> configured.Replica:
        name = replica.name or ""
        update: dict[str, object] = {}
        if name in self.draining:
            update["drain"] = self.draining[name]
        if name in self.weights:
            update["weight"] = self.weights[name]
        return replica.model_copy(update=update) if update else replica

    def _is_in_file(self, addition: Addition, replicas: list[configured.Replica]) -> bool:
        return any(
            each.name == addition.name and address_of(each.url) == address_of(addition.replica.url) for each in replicas
        )

    def _without(self, name: str) -> Overlay:
        """Nothing said of it."""
        return replace(
            self,
            draining=MappingProxyType({key: value for key, value in self.draining.items() if key != name}),
            weights=MappingProxyType({key: value for key, value in self.weights.items() if key != name}),
        )


def _spelled_out(settings: Settings) -> Iterator[tuple[configured.Provider, list[configured.Replica]]]:
    """Each provider, and its replicas with the names and addresses that they may leave out."""
    urls, origins = replica_urls(settings), origins_of(settings)
    for provider in settings.providers:
        names = {(each.replica.host, each.replica.port): each.replica.name for each in origins[provider.name]}
        yield (
            provider,
            [each.model_copy(update={"name": names[address_of(each.url)]}) for each in urls[provider.name]],
        )
