"""Provider URLs -> replicas with names and addresses.

An address, host and port, is one replica, however often it is listed. Its name is the one it was given; else that of a
provider which has nothing but this `base_url`; else host:port.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import HttpUrl

from . import providers as configured
from .errors import ConfigError, KeyPath, Problem
from .settings import Settings
from .topology import Replica, host_port

FIRST_MOCK_PORT = 8101
"""Mock providers without an address get http://127.0.0.1:8101, :8102, ... in the order of the file."""

HOSTED_URLS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
"""Where hosted APIs are, by provider type."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Origin:
    """A replica as one provider reaches it.

    Args:
        ranks: data-parallel ranks of its process.
    """

    replica: Replica
    tls: bool
    path_prefix: str
    ranks: int = 1


def replica_urls(settings: Settings) -> dict[str, tuple[configured.Replica, ...]]:
    """The replicas of each provider, by its name, with the addresses that it may leave out filled in."""
    urls: dict[str, tuple[configured.Replica, ...]] = {}
    mock_port = FIRST_MOCK_PORT
    for provider in settings.providers:
        if provider.replicas:
            urls[provider.name] = provider.replicas
            continue
        url = provider.base_url
        if url is None and provider.type == "mock":
            url = HttpUrl(f"http://127.0.0.1:{mock_port}")
            mock_port += 1
        urls[provider.name] = (configured.Replica(url=url or HttpUrl(HOSTED_URLS[provider.type])),)
    return urls


def origins_of(settings: Settings) -> dict[str, tuple[Origin, ...]]:
    """The replicas of each provider, by its name, each once.

    Raises:
        ConfigError: URLs that cannot be used, or names and clusters that contradict each other.
    """
    urls = replica_urls(settings)
    problems: list[Problem] = []
    names, clusters = _Claims("named", problems), _Claims("in cluster", problems)
    listed = [
        (("providers", index), replica)
        for index, provider in enumerate(settings.providers)
        for replica in urls[provider.name]
    ]
    for path, replica in listed:
        if replica.url.username or replica.url.password or replica.url.query or replica.url.fragment:
            text = "a URL must not hold credentials, a query or a fragment; a key belongs in api_key"
            problems.append(Problem(path, text))
        names.claim(address_of(replica.url), replica.name, path)
        clusters.claim(address_of(replica.url), replica.cluster, path)
    for provider in settings.providers:
        if not provider.replicas:
            names.offer(address_of(urls[provider.name][0].url), provider.name)
    for path, replica in listed:
        address = address_of(replica.url)
        if address not in names.taken:
            names.claim(address, host_port(*address), path)
    if problems:
        raise ConfigError(problems)
    return {
        provider.name: _origins(urls[provider.name], names.taken, clusters.taken, _metrics_path(provider))
        for provider in settings.providers
    }


def _origins(
    replicas: tuple[configured.Replica, ...],
    names: dict[Address, str],
    clusters: dict[Address, str],
    metrics_path: str,
) -> tuple[Origin, ...]:
    origins: dict[tuple[Address, bool, str], Origin] = {}
    for replica in replicas:
        address = address_of(replica.url)
        tls = replica.url.scheme == "https"
        path_prefix = (replica.url.path or "").rstrip("/").removesuffix("/v1")
        built = Replica(
            names[address], *address, replica.weight, clusters.get(address), metrics_path, draining=replica.drain
        )
        origins.setdefault((address, tls, path_prefix), Origin(built, tls, path_prefix))
    return tuple(origins.values())


def _metrics_path(provider: configured.Provider) -> str:
    """As the engine has it; a path that was set is used all the same."""
    if "metrics_path" not in provider.model_fields_set:
        return provider.offers.metrics_path
    return provider.metrics_path or ""


@dataclass(slots=True)
class _Claims:
    """Words that addresses go by: one each, and none for two."""

    verb: str
    problems: list[Problem]
    taken: dict[Address, str] = field(default_factory=dict)

    def claim(self, address: Address, word: str | None, path: KeyPath) -> None:
        """Takes a word that was asked for; a contradiction is a problem."""
        if word is None:
            return
        known = self.taken.setdefault(address, word)
        if known != word:
            self.problems.append(Problem(path, f'{host_port(*address)} is {self.verb} "{known}" and "{word}"'))
        for other, taken in self.taken.items():
            if taken == word and other != address:
                text = f'{host_port(*other)} and {host_port(*address)} are both {self.verb} "{word}"'
                self.problems.append(Problem(path, text))

    def offer(self, address: Address, word: str) -> None:
        """Takes a word if both it and the address are free."""
        if word not in self.taken.values():
            self.taken.setdefault(address, word)


def address_of(url: HttpUrl) -> Address:
    """Host and port; the port that the scheme implies if the URL has none."""
    return (url.host or "").strip("[]"), url.port or (443 if url.scheme == "https" else 80)
