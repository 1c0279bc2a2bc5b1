"""`kv_events`, `kv_events_url` and `replay_url` of the configuration -> where each replica publishes its KV events."""

from __future__ import annotations

from .addresses import Address, address_of, replica_urls
from .errors import ConfigError, Problem
from .providers import Provider, Replica
from .settings import Settings
from .topology import KvFeed, host_port


def kv_feeds_of(settings: Settings) -> dict[Address, KvFeed]:
    """The feed of each replica that has one, by its address.

    Raises:
        ConfigError: two replicas or two ranks would have one socket, or a replica that is listed twice has two feeds.
    """
    urls = replica_urls(settings)
    problems: list[Problem] = []
    feeds: dict[Address, KvFeed] = {}
    owners: dict[str, Address] = {}
    for index, provider in enumerate(settings.providers):
        for replica in urls[provider.name]:
            address, feed = address_of(replica.url), _feed(provider, replica)
            if feed is None:
                continue
            if text := _crowded(feed, provider.ranks_of(replica)):
                problems.append(Problem(("providers", index), text))
            for url in _published(feed, provider.ranks_of(replica)):
                owner = owners.setdefault(url, address)
                if owner != address:
                    text = (
                        f"{host_port(*owner)} and {host_port(*address)} would both publish at {url}: "
                        "give kv_events_url and replay_url with each replica"
                    )
                    problems.append(Problem(("providers", index), text))
            known = feeds.setdefault(address, feed)
            if known != feed:
                text = f"{host_port(*address)} publishes its KV events at {known.url} elsewhere, at {feed.url} here"
                problems.append(Problem(("providers", index), text))
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return feeds


def _feed(provider: Provider, replica: Replica) -> KvFeed | None:
    common = provider.kv_events
    host = address_of(replica.url)[0]
    if replica.kv_events_url is not None:
        return KvFeed(replica.kv_events_url, replica.replay_url, common.topic if common else "")
    if common is None:
        return None
    replay = f"tcp://{host_port(host, common.replay_port)}" if common.replay_port else None
    return KvFeed(f"tcp://{host_port(host, common.port)}", replica.replay_url or replay, common.topic)


def _published(feed: KvFeed, ranks: int) -> list[str]:
    """Where a process publishes: each rank counts on from the port of the first."""
    return list(dict.fromkeys(feed.of_rank(rank).url for rank in range(ranks)))


def _crowded(feed: KvFeed, ranks: int) -> str | None:
    """Why the ranks of a process cannot have a feed each; None if they can."""
    if ranks == 1:
        return None
    sockets = [each for rank in map(feed.of_rank, range(ranks)) for each in (rank.url, rank.replay_url) if each]
    if any(not each.startswith("tcp://") for each in sockets):
        return f"{ranks} data-parallel ranks publish on as many ports: {feed.url} has none to count on from"
    if any(int(each.rpartition(":")[2]) > 65535 for each in sockets):
        return f"the ports of {ranks} data-parallel ranks, counted on from {feed.url}, end beyond 65535"
    if len(set(sockets)) < len(sockets):
        return (
            f"{ranks} data-parallel ranks publish on ports counted on from {feed.url} and replay on ports counted on "
            f"from {feed.replay_url}: set them at least {ranks} apart"
        )
    return None
