"""Who may ask and within which limits, and what may be cached: the configuration as the request path looks it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.api.errors import Unauthorized
from extproc.config.keys import api_keys
from extproc.config.policies import DEFAULT_TENANT, ApiKey, RateLimit, Tenant
from extproc.config.settings import Settings
from extproc.tenants.keys import Caller, Key, KeyRing, public_id
from extproc.tenants.rules import Rules

_LONGEST_TENANT = 128


@dataclass(frozen=True)
class Policies:
    """One consistent state of it.

    Args:
        keys: None: whoever asks is let in, as the default tenant.
        tenant_header: in which Envoy names the tenant that it has authenticated itself; empty: it does not.
        limited: whether anybody's requests, tokens or spend are limited.
        scopes: tenant -> the scope of its cached answers, if it shares them.
    """

    keys: KeyRing | None
    tenant_header: str
    limited: bool
    scopes: Mapping[str, str]
    _rules: Mapping[str, Rules]
    _models: Mapping[str, frozenset[str] | None]
    _default: Rules
    reserve_tokens: int = 1024

    @classmethod
    def of(cls, settings: Settings) -> Policies:
        """The policies of valid settings. Reads key files.

        Raises:
            ConfigError: a key file cannot be used.
        """
        tenants = {tenant.name: tenant for tenant in settings.tenants}
        default = _tenant_rules(settings, None)
        rules = {name: _tenant_rules(settings, tenant) for name, tenant in tenants.items()}
        models = {name: frozenset(tenant.models) if tenant.models else None for name, tenant in tenants.items()}
        keys = [
            Key(sha256, _caller(settings, sha256, key, rules.get(key.tenant, default), models.get(key.tenant)))
            for sha256, key in api_keys(settings)
        ]
        everyone = [default, *rules.values(), *(key.caller.key_rules for key in keys)]
        return cls(
            keys=KeyRing(keys) if settings.auth.enabled else None,
            tenant_header=settings.auth.tenant_header or "" if settings.auth.enabled else "",
            limited=any(each.limits_rate or each.limits_spend for each in everyone),
            scopes={name: tenant.cache_scope for name, tenant in tenants.items() if tenant.cache_scope},
            _rules=rules,
            _models=models,
            _default=default,
            reserve_tokens=settings.budget.reserve_tokens,
        )

    @property
    def nobody(self) -> Caller:
        """Who asks, as long as it is not known."""
        return self.tenant(DEFAULT_TENANT)

    def authenticate(self, credential: str, tenant: str) -> Caller:
        """Who asks.

        Args:
            credential: `Authorization` as the client sent it, or the bare key; empty if there was none.
            tenant: that Envoy vouches for; empty if it does not.

        Raises:
            Unauthorized: nobody who is let in.
        """
        if self.keys is None:
            return self.tenant(DEFAULT_TENANT)
        if tenant:
            if len(tenant) > _LONGEST_TENANT:
                raise Unauthorized("The name of the tenant is too long.")
            return self.tenant(tenant)
        if not credential:
            raise Unauthorized("An API key is required: send it as `Authorization: Bearer <key>`.")
        scheme, space, rest = credential.partition(" ")
        key = rest.strip() if space and scheme.lower() == "bearer" else credential
        caller = self.keys.find(key)
        if caller is None:
            raise Unauthorized("The API key is not valid.")
        return caller

    def tenant(self, name: str) -> Caller:
        """A tenant that needs no key."""
        return Caller("", name, self._models.get(name), tenant_rules=self._rules.get(name, self._default))

    def scope(self, tenant: str) -> str:
        """Of a tenant's cached answers. A shared scope and a tenant of the same name are not the same."""
        shared = self.scopes.get(tenant)
        return f"shared:{shared}" if shared else f"tenant:{tenant}"


def _burst(limits: RateLimit | None, rpm: int | None) -> int:
    """No more at once than in a minute."""
    return max(1, min(limits.burst, rpm or limits.burst)) if limits else 1


def _tenant_rules(settings: Settings, tenant: Tenant | None) -> Rules:
    limits, budget = settings.ratelimit, settings.budget
    on = limits is not None and limits.enabled
    own = tenant or Tenant(name=DEFAULT_TENANT)
    rpm = (own.rpm or limits.default_rpm or None) if limits and on else None
    return Rules(
        rpm=rpm,
        burst=_burst(limits, rpm),
        tpm=(own.tpm or limits.default_tpm) if limits and on else None,
        budget_usd=_first(own.budget_usd, budget.default_usd) if budget.enabled else None,
        window_s=budget.window_s,
    )


def _key_rules(settings: Settings, key: ApiKey) -> Rules:
    limits, budget = settings.ratelimit, settings.budget
    on = limits is not None and limits.enabled
    return Rules(
        rpm=key.rpm if on else None,
        burst=_burst(limits, key.rpm),
        tpm=key.tpm if on else None,
        budget_usd=key.budget_usd if budget.enabled else None,
        window_s=budget.window_s,
    )


def _caller(
    settings: Settings, sha256: bytes, key: ApiKey, tenant_rules: Rules, tenant_models: frozenset[str] | None
) -> Caller:
    models = frozenset(key.models) if key.models is not None else tenant_models
    return Caller(public_id(sha256), key.tenant, models, _key_rules(settings, key), tenant_rules)


def _first(own: float | None, default: float | None) -> float | None:
    return default if own is None else own
