"""`kv_events`, `kv_events_url` and `replay_url` of the configuration -> where each replica publishes its KV events."""

from __future__ import annotations

from .addresses import Address, address_of, replica_urls
from .errors import ConfigError, Problem
from .settings import Provider, Replica, Settings
from .topology import KvFeed, host_port


def kv_feeds_of(settings: Settings) -> dict[Address, KvFeed]:
    """The feed of each replica that has one, by its address.

    Raises:
        ConfigError: two replicas would have one feed, or a replica that is listed twice has two.
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
            owner = owners.setdefault(feed.url, address)
            if owner != address:
                text = (
                    f"{host_port(*owner)} and {host_port(*address)} would both publish at {feed.url}: "
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
