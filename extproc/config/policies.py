"""Who may ask, how often and for how much, and which answers are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, HttpUrl, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .section import HeaderName, Name, Section

Backend = Literal["memory", "redis"]
WhenDown = Literal["open", "closed"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of a key, in hexadecimal")]
DEFAULT_TENANT = "default"


class Shared(Section):
    """Something that instances of the gateway may share."""

    backend: Backend = Field("memory", description="memory: of this instance alone")
    redis_url: str | None = Field(None, repr=False, description="redis://, rediss:// or unix://")

    @model_validator(mode="after")
    def _redis_has_an_address(self) -> Shared:
        if self.backend == "redis" and self.redis_url is None:
            raise ValueError("backend: redis needs redis_url")
        return self


class ApiKey(Section):
    """A key and whose it is. The key is given in one of three ways."""

    key: str | None = Field(None, min_length=1, repr=False, description="as ${VARIABLE}, so that it is not in the file")
    key_file: Path | None = Field(None, description="holds the key and nothing else")
    key_sha256: Digest | None = None
    tenant: Name = DEFAULT_TENANT
    models: tuple[str, ...] | None = Field(None, description="that it may ask for; default: those of its tenant")
    rpm: PositiveInt | None = Field(None, description="requests per minute with this key")
    tpm: PositiveInt | None = Field(None, description="tokens per minute with this key")
    budget_usd: NonNegativeFloat | None = Field(None, description="US dollars per window with this key")

    @model_validator(mode="after")
    def _given_once(self) -> ApiKey:
        if sum(each is not None for each in (self.key, self.key_file, self.key_sha256)) != 1:
            raise ValueError("give one of key, key_file and key_sha256")
        return self


class Auth(Section):
    """Who may ask. With it on, the gateway fails closed: while the processor is down, nothing is served."""

    enabled: bool = False
    api_keys: tuple[ApiKey, ...] = ()
    tenant_header: HeaderName | None = Field(
        None,
        description="names the tenant of a request that Envoy has authenticated itself, such as by JWT; "
        "no client can set it",
    )

    @model_validator(mode="after")
    def _somebody_can_get_in(self) -> Auth:
        if self.enabled and not self.api_keys and self.tenant_header is None:
            raise ValueError("nobody could get in: give api_keys or tenant_header")
        return self


class Tenant(Section):
    """What all keys of a tenant may do together."""

    name: Name
    models: tuple[str, ...] | None = Field(None, description="that it may ask for; default: all")
    rpm: PositiveInt | None = Field(None, description="requests per minute; default: ratelimit.default_rpm")
    tpm: PositiveInt | None = Field(None, description="tokens per minute; default: ratelimit.default_tpm")
    budget_usd: NonNegativeFloat | None = Field(None, description="US dollars per window; default: budget.default_usd")
    cache_scope: Name | None = Field(
        None, description="tenants that name the same scope share cached answers; default: a scope of its own"
    )


class RateLimit(Shared):
    """Token buckets per tenant and per key. Leave the section out for no limits."""

    enabled: bool = True
    default_rpm: NonNegativeInt = Field(600, description="requests per minute of a tenant; 0: no limit")
    burst: NonNegativeInt = Field(60, description="requests that may come at once after a quiet time")
    default_tpm: PositiveInt | None = Field(None, description="tokens per minute of a tenant, prompt and answer")
    when_down: WhenDown = Field("open", description="without Redis: open counts in each instance, closed refuses")


class Budget(Shared):
    """US dollars per tenant and window, at the prices of `models[].deployments[]`."""

    enabled: bool = False
    default_usd: NonNegativeFloat | None = Field(None, description="of a tenant; null: unlimited")
    window_s: PositiveFloat = Field(86400, description="windows begin at multiples of it, counted from 1970 in UTC")
    reserve_tokens: PositiveInt = Field(
        1024, description="answer tokens that are reserved for a request that sets no max_tokens"
    )
    when_down: WhenDown = Field("open", description="without Redis: open counts in each instance, closed refuses")


class SemanticCache(Section):
    """Answers to prompts of like meaning."""

    enabled: bool = False
    threshold: float = Field(0.95, ge=0, le=1, description="cosine similarity below which nothing is a hit")
    max_error_rate: float = Field(0.01, gt=0, lt=1, description="of its hits, the share that may be wrong")
    embedder: Literal["hashing", "sentence_transformers", "openai"] = "hashing"
    model: str = "all-MiniLM-L6-v2"
    base_url: HttpUrl | None = Field(
        None, description="of an API with /v1/embeddings, for `openai`, such as this fleet's; default: OpenAI's own"
    )
    api_key: str | None = Field(None, repr=False, description="sent there as a bearer token")
    max_entries: PositiveInt = 2000


class Cache(Shared):
    """Answers to identical requests."""

    enabled: bool = True
    ttl_seconds: PositiveFloat = 3600
    mode: Literal["deterministic", "all"] = Field(
        "deterministic", description="deterministic: requests with temperature 0 or a seed; all: every request"
    )
    max_bytes: PositiveInt = Field(256 << 20, description="memory backend: of all answers together")
    max_answer_bytes: PositiveInt = Field(1 << 20, description="an answer larger than this is not kept")
    wait_s: NonNegativeFloat = Field(
        30.0, le=300, description="how long a request waits for the answer to an equal one under way; 0: not at all"
    )
    semantic: SemanticCache = Field(default_factory=SemanticCache)
