"""Tiers of the configuration: `host_cache_tokens`, `kv_domain`, `remote_cache_tokens` -> what is behind each replica.

`host_cache_tokens` is the size of one tier: of the one behind each replica, or of the one that a domain shares. A
domain may span providers; its size need be given once. `remote_cache_tokens` is the size of the only remote tier there
is; a provider that does not give it does not reach it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .addresses import Address, address_of, replica_urls
from .errors import ConfigError, KeyPath, Problem
from .settings import Settings
from .topology import HostTier, host_port


def host_tiers_of(settings: Settings) -> dict[Address, HostTier]:
    """What is behind each replica that has a host tier, by its address.

    Raises:
        ConfigError: a domain has no size or two, or a replica that is listed twice has two tiers.
    """
    problems: list[Problem] = []
    listed = list(_listed(settings))
    sizes: dict[str, int] = {}
    for path, _, domain, tokens in listed:
        if domain and tokens is not None and sizes.setdefault(domain, tokens) != tokens:
            text = f'the domain "{domain}" is one tier: it has {sizes[domain]} tokens elsewhere, {tokens} here'
            problems.append(Problem((*path, "host_cache_tokens"), text))
    tiers: dict[Address, HostTier] = {}
    for path, address, domain, tokens in listed:
        size = sizes.get(domain, tokens)
        if size is not None:
            tier = HostTier(size, domain)
            known = tiers.setdefault(address, tier)
            if known != tier and not problems:
                text = f"{host_port(*address)} has {_said(known)} elsewhere, {_said(tier)} here"
                problems.append(Problem(path, text))
        elif domain:
            text = f'the domain "{domain}" has no size: give host_cache_tokens with it'
            problems.append(Problem((*path, "kv_domain"), text))
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return tiers


def remote_tier_of(settings: Settings) -> dict[Address, int]:
    """Tokens in the remote tier, by the address of each replica that reaches it.

    Raises:
        ConfigError: it has two sizes.
    """
    urls = replica_urls(settings)
    problems: list[Problem] = []
    size: int | None = None
    reached: dict[Address, int] = {}
    for index, provider in enumerate(settings.providers):
        tokens = provider.remote_cache_tokens
        if tokens is None:
            continue
        size = size or tokens
        if tokens != size:
            text = f"the remote tier is one for all providers: it has {size} tokens elsewhere, {tokens} here"
            problems.append(Problem(("providers", index, "remote_cache_tokens"), text))
        reached |= {address_of(replica.url): tokens for replica in urls[provider.name]}
    if problems:
        raise ConfigError(problems)
    return reached


def _listed(settings: Settings) -> Iterator[tuple[KeyPath, Address, str, int | None]]:
    """Each replica where it is listed: its provider's key, its address, its domain or "", and its provider's size."""
    urls = replica_urls(settings)
    for index, provider in enumerate(settings.providers):
        for replica in urls[provider.name]:
            domain = replica.kv_domain or provider.kv_domain or ""
            yield ("providers", index), address_of(replica.url), domain, provider.host_cache_tokens


def _said(tier: HostTier) -> str:
    owner = f'of the domain "{tier.domain}"' if tier.domain else "of its own"
    return f"a host tier {owner} with {tier.tokens} tokens"
