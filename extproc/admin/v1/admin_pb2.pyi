from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("path", "request", "session")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    path: str
    request: _httpbody_pb2.HttpBody
    session: str
    def __init__(self, path: _Optional[str] = ..., request: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ..., session: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("model", "replica", "prompt_tokens", "prompt_blocks", "receipt")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    model: str
    replica: str
    prompt_tokens: int
    prompt_blocks: int
    receipt: _struct_pb2.Struct
    def __init__(self, model: _Optional[str] = ..., replica: _Optional[str] = ..., prompt_tokens: _Optional[int] = ..., prompt_blocks: _Optional[int] = ..., receipt: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class MetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Status(_message.Message):
    __slots__ = ("version", "started_unix_s", "uptime_s", "ready", "envoys", "config_path", "config_loaded_unix_s", "config_error", "requests_inflight", "warnings")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    ENVOYS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_PATH_FIELD_NUMBER: _ClassVar[int]
    CONFIG_LOADED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    CONFIG_ERROR_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    version: str
    started_unix_s: float
    uptime_s: float
    ready: bool
    envoys: int
    config_path: str
    config_loaded_unix_s: float
    config_error: str
    requests_inflight: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., started_unix_s: _Optional[float] = ..., uptime_s: _Optional[float] = ..., ready: bool = ..., envoys: _Optional[int] = ..., config_path: _Optional[str] = ..., config_loaded_unix_s: _Optional[float] = ..., config_error: _Optional[str] = ..., requests_inflight: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Stats(_message.Message):
    __slots__ = ("started_unix_s", "uptime_s", "requests", "requests_inflight", "models", "cache", "tokens", "cost_usd", "rate_limited", "budget_rejected", "failovers", "replicas", "tenants")
    class ReplicasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ReplicaStats
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ReplicaStats, _Mapping]] = ...) -> None: ...
    class TenantsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TenantSpend
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TenantSpend, _Mapping]] = ...) -> None: ...
    STARTED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_REJECTED_FIELD_NUMBER: _ClassVar[int]
    FAILOVERS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    started_unix_s: float
    uptime_s: float
    requests: float
    requests_inflight: int
    models: _containers.RepeatedCompositeFieldContainer[ModelStats]
    cache: CacheHits
    tokens: TokenStats
    cost_usd: float
    rate_limited: float
    budget_rejected: float
    failovers: float
    replicas: _containers.MessageMap[str, ReplicaStats]
    tenants: _containers.MessageMap[str, TenantSpend]
    def __init__(self, started_unix_s: _Optional[float] = ..., uptime_s: _Optional[float] = ..., requests: _Optional[float] = ..., requests_inflight: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelStats, _Mapping]]] = ..., cache: _Optional[_Union[CacheHits, _Mapping]] = ..., tokens: _Optional[_Union[TokenStats, _Mapping]] = ..., cost_usd: _Optional[float] = ..., rate_limited: _Optional[float] = ..., budget_rejected: _Optional[float] = ..., failovers: _Optional[float] = ..., replicas: _Optional[_Mapping[str, ReplicaStats]] = ..., tenants: _Optional[_Mapping[str, TenantSpend]] = ...) -> None: ...

class ModelStats(_message.Message):
    __slots__ = ("model", "requests_by_status", "tokens", "cost_usd")
    class RequestsByStatusEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_BY_STATUS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    model: str
    requests_by_status: _containers.ScalarMap[str, float]
    tokens: TokenStats
    cost_usd: float
    def __init__(self, model: _Optional[str] = ..., requests_by_status: _Optional[_Mapping[str, float]] = ..., tokens: _Optional[_Union[TokenStats, _Mapping]] = ..., cost_usd: _Optional[float] = ...) -> None: ...

class CacheHits(_message.Message):
    __slots__ = ("exact", "semantic", "misses", "bypassed", "hit_rate")
    EXACT_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    BYPASSED_FIELD_NUMBER: _ClassVar[int]
    HIT_RATE_FIELD_NUMBER: _ClassVar[int]
    exact: float
    semantic: float
    misses: float
    bypassed: float
    hit_rate: float
    def __init__(self, exact: _Optional[float] = ..., semantic: _Optional[float] = ..., misses: _Optional[float] = ..., bypassed: _Optional[float] = ..., hit_rate: _Optional[float] = ...) -> None: ...

class TokenStats(_message.Message):
    __slots__ = ("input", "cached", "output")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    input: float
    cached: float
    output: float
    def __init__(self, input: _Optional[float] = ..., cached: _Optional[float] = ..., output: _Optional[float] = ...) -> None: ...

class ReplicaStats(_message.Message):
    __slots__ = ("routed", "inflight", "failures", "latency_s")
    ROUTED_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_S_FIELD_NUMBER: _ClassVar[int]
    routed: float
    inflight: int
    failures: int
    latency_s: float
    def __init__(self, routed: _Optional[float] = ..., inflight: _Optional[int] = ..., failures: _Optional[int] = ..., latency_s: _Optional[float] = ...) -> None: ...

class TenantSpend(_message.Message):
    __slots__ = ("spent_usd",)
    SPENT_USD_FIELD_NUMBER: _ClassVar[int]
    spent_usd: float
    def __init__(self, spent_usd: _Optional[float] = ...) -> None: ...

class ListReplicasRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchReplicasRequest(_message.Message):
    __slots__ = ("interval_s",)
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    interval_s: float
    def __init__(self, interval_s: _Optional[float] = ...) -> None: ...

class Replicas(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    def __init__(self, replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("name", "address", "pool", "provider", "models", "state", "weight", "inflight", "others_inflight", "wait_s", "queued_tokens", "prefill_tokens_per_s", "base_s", "index_tokens", "capacity_tokens", "host_tier_tokens", "kv_usage", "routed", "failures", "latency_s", "warm_share", "recent_ttft_s", "changed", "remote_tier_tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    OTHERS_INFLIGHT_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    BASE_S_FIELD_NUMBER: _ClassVar[int]
    INDEX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HOST_TIER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_USAGE_FIELD_NUMBER: _ClassVar[int]
    ROUTED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_S_FIELD_NUMBER: _ClassVar[int]
    WARM_SHARE_FIELD_NUMBER: _ClassVar[int]
    RECENT_TTFT_S_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOTE_TIER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    pool: str
    provider: str
    models: _containers.RepeatedScalarFieldContainer[str]
    state: str
    weight: float
    inflight: int
    others_inflight: int
    wait_s: float
    queued_tokens: float
    prefill_tokens_per_s: float
    base_s: float
    index_tokens: float
    capacity_tokens: float
    host_tier_tokens: float
    kv_usage: float
    routed: float
    failures: int
    latency_s: float
    warm_share: float
    recent_ttft_s: _containers.RepeatedScalarFieldContainer[float]
    changed: bool
    remote_tier_tokens: float
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., pool: _Optional[str] = ..., provider: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., weight: _Optional[float] = ..., inflight: _Optional[int] = ..., others_inflight: _Optional[int] = ..., wait_s: _Optional[float] = ..., queued_tokens: _Optional[float] = ..., prefill_tokens_per_s: _Optional[float] = ..., base_s: _Optional[float] = ..., index_tokens: _Optional[float] = ..., capacity_tokens: _Optional[float] = ..., host_tier_tokens: _Optional[float] = ..., kv_usage: _Optional[float] = ..., routed: _Optional[float] = ..., failures: _Optional[int] = ..., latency_s: _Optional[float] = ..., warm_share: _Optional[float] = ..., recent_ttft_s: _Optional[_Iterable[float]] = ..., changed: bool = ..., remote_tier_tokens: _Optional[float] = ..., **kwargs) -> None: ...

class AddReplicaRequest(_message.Message):
    __slots__ = ("provider", "url", "name", "weight")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    provider: str
    url: str
    name: str
    weight: float
    def __init__(self, provider: _Optional[str] = ..., url: _Optional[str] = ..., name: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class RemoveReplicaRequest(_message.Message):
    __slots__ = ("name", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ...) -> None: ...

class DrainReplicaRequest(_message.Message):
    __slots__ = ("name", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ...) -> None: ...

class UndrainReplicaRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class SetReplicaWeightRequest(_message.Message):
    __slots__ = ("name", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: float
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class ListDecisionsRequest(_message.Message):
    __slots__ = ("limit", "after_id", "before_id")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ID_FIELD_NUMBER: _ClassVar[int]
    limit: int
    after_id: float
    before_id: float
    def __init__(self, limit: _Optional[int] = ..., after_id: _Optional[float] = ..., before_id: _Optional[float] = ...) -> None: ...

class Decisions(_message.Message):
    __slots__ = ("decisions", "kept")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    kept: int
    def __init__(self, decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., kept: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("id", "at_unix_s", "request_id", "model", "tenant", "replica", "served_by", "reason", "prompt_tokens", "matched_tokens", "restorable_tokens", "cached_tokens", "predicted_ttft_s", "ttft_s", "status", "duration_s", "cache", "receipt", "remote_tokens")
    ID_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    SERVED_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESTORABLE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_TTFT_S_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REMOTE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: float
    at_unix_s: float
    request_id: str
    model: str
    tenant: str
    replica: str
    served_by: str
    reason: str
    prompt_tokens: int
    matched_tokens: int
    restorable_tokens: int
    cached_tokens: int
    predicted_ttft_s: float
    ttft_s: float
    status: int
    duration_s: float
    cache: str
    receipt: _struct_pb2.Struct
    remote_tokens: int
    def __init__(self, id: _Optional[float] = ..., at_unix_s: _Optional[float] = ..., request_id: _Optional[str] = ..., model: _Optional[str] = ..., tenant: _Optional[str] = ..., replica: _Optional[str] = ..., served_by: _Optional[str] = ..., reason: _Optional[str] = ..., prompt_tokens: _Optional[int] = ..., matched_tokens: _Optional[int] = ..., restorable_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., predicted_ttft_s: _Optional[float] = ..., ttft_s: _Optional[float] = ..., status: _Optional[int] = ..., duration_s: _Optional[float] = ..., cache: _Optional[str] = ..., receipt: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., remote_tokens: _Optional[int] = ...) -> None: ...

class GetDecisionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: float
    def __init__(self, id: _Optional[float] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Tenants(_message.Message):
    __slots__ = ("tenants",)
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("name", "spent_usd", "budget_usd", "window_ends_unix_s", "rpm", "tpm", "requests", "rate_limited", "budget_rejected", "tokens", "cache_scope")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPENT_USD_FIELD_NUMBER: _ClassVar[int]
    BUDGET_USD_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ENDS_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    RPM_FIELD_NUMBER: _ClassVar[int]
    TPM_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_REJECTED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_SCOPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    spent_usd: float
    budget_usd: float
    window_ends_unix_s: float
    rpm: int
    tpm: float
    requests: float
    rate_limited: float
    budget_rejected: float
    tokens: TokenStats
    cache_scope: str
    def __init__(self, name: _Optional[str] = ..., spent_usd: _Optional[float] = ..., budget_usd: _Optional[float] = ..., window_ends_unix_s: _Optional[float] = ..., rpm: _Optional[int] = ..., tpm: _Optional[float] = ..., requests: _Optional[float] = ..., rate_limited: _Optional[float] = ..., budget_rejected: _Optional[float] = ..., tokens: _Optional[_Union[TokenStats, _Mapping]] = ..., cache_scope: _Optional[str] = ...) -> None: ...

class ResetTenantRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCachesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Caches(_message.Message):
    __slots__ = ("exact", "semantic")
    EXACT_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_FIELD_NUMBER: _ClassVar[int]
    exact: ExactCache
    semantic: SemanticCache
    def __init__(self, exact: _Optional[_Union[ExactCache, _Mapping]] = ..., semantic: _Optional[_Union[SemanticCache, _Mapping]] = ...) -> None: ...

class ExactCache(_message.Message):
    __slots__ = ("enabled", "hits", "misses", "stored", "evicted", "garbage", "dropped", "entries", "held_bytes")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    GARBAGE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    hits: float
    misses: float
    stored: float
    evicted: float
    garbage: float
    dropped: float
    entries: float
    held_bytes: float
    def __init__(self, enabled: bool = ..., hits: _Optional[float] = ..., misses: _Optional[float] = ..., stored: _Optional[float] = ..., evicted: _Optional[float] = ..., garbage: _Optional[float] = ..., dropped: _Optional[float] = ..., entries: _Optional[float] = ..., held_bytes: _Optional[float] = ...) -> None: ...

class SemanticCache(_message.Message):
    __slots__ = ("enabled", "same", "learned", "explored", "agreed", "misses", "stored", "without_vector", "refused")
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    SAME_FIELD_NUMBER: _ClassVar[int]
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_VECTOR_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    same: float
    learned: float
    explored: float
    agreed: float
    misses: float
    stored: float
    without_vector: float
    refused: _containers.ScalarMap[str, float]
    def __init__(self, enabled: bool = ..., same: _Optional[float] = ..., learned: _Optional[float] = ..., explored: _Optional[float] = ..., agreed: _Optional[float] = ..., misses: _Optional[float] = ..., stored: _Optional[float] = ..., without_vector: _Optional[float] = ..., refused: _Optional[_Mapping[str, float]] = ...) -> None: ...

class FlushCachesRequest(_message.Message):
    __slots__ = ("scope",)
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    scope: str
    def __init__(self, scope: _Optional[str] = ...) -> None: ...

class FlushCachesResponse(_message.Message):
    __slots__ = ("scopes",)
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    scopes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, scopes: _Optional[_Iterable[str]] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Config(_message.Message):
    __slots__ = ("yaml", "path", "changes")
    YAML_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    path: str
    changes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, yaml: _Optional[str] = ..., path: _Optional[str] = ..., changes: _Optional[_Iterable[str]] = ...) -> None: ...

class ReloadConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadConfigResponse(_message.Message):
    __slots__ = ("warnings", "models", "replicas")
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    models: int
    replicas: int
    def __init__(self, warnings: _Optional[_Iterable[str]] = ..., models: _Optional[int] = ..., replicas: _Optional[int] = ...) -> None: ...

class ValidateConfigRequest(_message.Message):
    __slots__ = ("yaml",)
    YAML_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    def __init__(self, yaml: _Optional[str] = ...) -> None: ...

class ValidateConfigResponse(_message.Message):
    __slots__ = ("valid", "problems")
    VALID_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    valid: bool
    problems: _containers.RepeatedCompositeFieldContainer[ConfigProblem]
    def __init__(self, valid: bool = ..., problems: _Optional[_Iterable[_Union[ConfigProblem, _Mapping]]] = ...) -> None: ...

class ConfigProblem(_message.Message):
    __slots__ = ("severity", "line", "key", "text")
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    severity: str
    line: int
    key: str
    text: str
    def __init__(self, severity: _Optional[str] = ..., line: _Optional[int] = ..., key: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class GetIndexRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Index(_message.Message):
    __slots__ = ("blocks", "prompts", "replicas")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    blocks: float
    prompts: float
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaIndex]
    def __init__(self, blocks: _Optional[float] = ..., prompts: _Optional[float] = ..., replicas: _Optional[_Iterable[_Union[ReplicaIndex, _Mapping]]] = ...) -> None: ...

class ReplicaIndex(_message.Message):
    __slots__ = ("name", "tokens", "capacity_tokens", "held_blocks", "claimed_blocks", "host_tier_tokens", "lifetime_s", "remote_tier_tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HELD_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    HOST_TIER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_S_FIELD_NUMBER: _ClassVar[int]
    REMOTE_TIER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    tokens: float
    capacity_tokens: float
    held_blocks: float
    claimed_blocks: float
    host_tier_tokens: float
    lifetime_s: float
    remote_tier_tokens: float
    def __init__(self, name: _Optional[str] = ..., tokens: _Optional[float] = ..., capacity_tokens: _Optional[float] = ..., held_blocks: _Optional[float] = ..., claimed_blocks: _Optional[float] = ..., host_tier_tokens: _Optional[float] = ..., lifetime_s: _Optional[float] = ..., remote_tier_tokens: _Optional[float] = ...) -> None: ...

class DumpIndexRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class IndexDump(_message.Message):
    __slots__ = ("runs", "truncated")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[IndexRun]
    truncated: bool
    def __init__(self, runs: _Optional[_Iterable[_Union[IndexRun, _Mapping]]] = ..., truncated: bool = ...) -> None: ...

class IndexRun(_message.Message):
    __slots__ = ("hash", "parent", "first_block", "end_block", "tokens", "replicas", "claims")
    HASH_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    END_BLOCK_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    hash: str
    parent: str
    first_block: int
    end_block: int
    tokens: float
    replicas: _containers.RepeatedScalarFieldContainer[str]
    claims: int
    def __init__(self, hash: _Optional[str] = ..., parent: _Optional[str] = ..., first_block: _Optional[int] = ..., end_block: _Optional[int] = ..., tokens: _Optional[float] = ..., replicas: _Optional[_Iterable[str]] = ..., claims: _Optional[int] = ...) -> None: ...

class GetOpenApiRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetDocsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetDashboardRequest(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: str
    def __init__(self, file: _Optional[str] = ...) -> None: ...
