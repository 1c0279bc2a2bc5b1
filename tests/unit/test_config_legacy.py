"""Files of the first generation load, or fail where silence would be unsafe."""

from __future__ import annotations

import pytest

from extproc.config.build import build
from extproc.config.errors import ConfigError
from extproc.config.load import loads

FIRST = """\
server:
  host: 0.0.0.0
  port: 8080
  log_level: INFO
  request_timeout_s: 60
auth:
  enabled: false
  api_keys:
    - {key: "${KVGATE_KEY:-sk-secret}", tenant: acme, rpm: 60, budget_usd: 5.0}
cache:
  enabled: true
  backend: redis
  redis_url: redis://:secret@localhost:6379/0
  ttl_seconds: 3600
  semantic:
    enabled: true
    threshold: 0.95
    embedder: hashing
    model: all-MiniLM-L6-v2
    max_entries: 2000
ratelimit:
  enabled: true
  backend: memory
  redis_url: redis://localhost:6379/1
  default_rpm: 600
  burst: 60
budget:
  enabled: false
  default_usd: null
  window_s: 86400
routing:
  strategy: latency
  latency_ewma_alpha: 0.25
  failure_threshold: 5
  cooldown_s: 20
  prefix_kv_aware:
    block_size: 16
    affinity_backend: redis
    affinity_redis_url: redis://:secret@localhost:6379/2
    affinity_ttl_s: 300
    max_blocks_per_replica: 1000
    weight_prefix: 2.0
    weight_load: 0.25
    max_inflight_skew: 4
    tokenizer: hf
    hf_model: Qwen/Qwen2.5-7B
    image_key: url
    cold_fallback: least_busy
providers:
  - {name: mock-a, type: mock, latency_ms: 5, tokens_per_second: 50}
  - {name: mock-b, type: mock}
  - {name: vllm, type: openai_compatible, base_url: http://10.0.0.7:8000/v1, api_key: none}
  - {name: openai, type: openai, api_key: "${OPENAI_API_KEY:-}"}
  - {name: claude, type: anthropic, api_key: x}
models:
  - name: demo
    deployments:
      - {provider: mock-a, model: demo-1, weight: 3, cost_per_1k_input: 0.1, cost_per_1k_output: 0.2}
      - {provider: mock-b, model: demo-1, weight: 1, cost_per_1k_input: 0.1, cost_per_1k_output: 0.2}
  - name: big
    deployments:
      - {provider: vllm, model: Qwen/Qwen2.5-7B}
      - {provider: openai, model: gpt-4o}
      - {provider: claude, model: claude-x}
"""


def warnings(text: str) -> list[str]:
    return [warning.removeprefix("kvgate.yaml:") for warning in loads(text, {}).warnings]


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, {})
    return str(caught.value).splitlines()


class TestAWholeFile:
    def test_what_still_means_something_is_kept(self) -> None:
        settings = loads(FIRST, {}).settings
        assert settings.server.request_timeout_s == 60
        assert (settings.routing.failure_threshold, settings.routing.cooldown_s) == (5, 20)
        assert (settings.routing.strategy, settings.routing.latency_ewma_alpha) == ("latency", 0.25)
        strategy = settings.routing.prefix_kv_aware
        assert (strategy.block_size, strategy.max_blocks_per_replica) == (16, 1000)
        assert settings.providers[0].latency_ms == 5
        (key,) = settings.auth.api_keys
        assert (key.key, key.tenant, key.rpm, key.budget_usd) == ("sk-secret", "acme", 60, 5.0)
        assert (settings.cache.backend, settings.cache.ttl_seconds) == ("redis", 3600)
        assert settings.cache.semantic.enabled
        assert settings.ratelimit is not None
        assert (settings.ratelimit.default_rpm, settings.ratelimit.burst) == (600, 60)
        assert (settings.budget.default_usd, settings.budget.window_s) == (None, 86400)
        assert settings.models[0].deployments[0].cost_per_1k_output == 0.2

    def test_what_means_nothing_any_more_is_warned_of_with_its_line(self) -> None:
        assert [warning.split(": ")[:2] for warning in warnings(FIRST)] == [
            ["38", "routing.prefix_kv_aware.affinity_backend"],
            ["39", "routing.prefix_kv_aware.affinity_redis_url"],
            ["40", "routing.prefix_kv_aware.affinity_ttl_s"],
            ["42", "routing.prefix_kv_aware.weight_prefix"],
            ["43", "routing.prefix_kv_aware.weight_load"],
            ["44", "routing.prefix_kv_aware.max_inflight_skew"],
            ["45", "routing.prefix_kv_aware.tokenizer"],
            ["46", "routing.prefix_kv_aware.hf_model"],
            ["47", "routing.prefix_kv_aware.image_key"],
            ["48", "routing.prefix_kv_aware.cold_fallback"],
        ]
        assert not any("secret" in warning for warning in warnings(FIRST))

    def test_its_topology_builds(self) -> None:
        topology = build(loads(FIRST, {}).settings)
        assert [replica.name for replica in topology.pools["demo"].replicas] == ["mock-a", "mock-b"]
        assert sorted(topology.replicas) == ["claude", "mock-a", "mock-b", "openai", "vllm"]


class TestSections:
    @pytest.mark.parametrize("name", ["round_robin", "weighted", "latency", "least_busy", "cost", "prefix_kv_aware"])
    def test_every_strategy_of_the_first_generation_is_there(self, name: str) -> None:
        loaded = loads(f"routing: {{strategy: {name}}}", {})
        assert (loaded.settings.routing.strategy, loaded.warnings) == (name, ())

    @pytest.mark.parametrize(
        ("key", "replacement"),
        [
            ("weight_prefix: 2", "waiting and computing are predicted in seconds and compared as such"),
            ("weight_load: 0.25", "waiting and computing are predicted in seconds and compared as such"),
            ("max_inflight_skew: 4", "a busy replica costs what waiting there would"),
        ],
    )
    def test_a_weight_that_means_nothing_any_more_names_what_replaced_it(self, key: str, replacement: str) -> None:
        name = key.split(":")[0]
        assert warnings(f"routing: {{prefix_kv_aware: {{{key}}}}}") == [
            f"1: routing.prefix_kv_aware.{name}: has no effect; {replacement}"
        ]

    @pytest.mark.parametrize("section", ["auth", "budget", "cache", "ratelimit"])
    def test_a_section_that_is_switched_off_is_accepted_in_silence(self, section: str) -> None:
        assert warnings(f"{section}: {{enabled: false}}") == []

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("cache: {ttl_secs: 5}", '1: cache.ttl_secs: unknown key; did you mean "ttl_seconds"?'),
            ("cache:\n  semantic: {treshold: 1}", '2: cache.semantic.treshold: unknown key; did you mean "threshold"?'),
            ("auth:\n  api_keys:\n    - {kee: x, key: y}", '3: auth.api_keys[0].kee: unknown key; did you mean "key"?'),
            ("auth: {api_keys: [{tenant: x}]}", "1: auth.api_keys[0]: give one of key, key_file and key_sha256"),
            (
                "routing: {prefix_kv_aware: {weight_lod: 1}}",
                '1: routing.prefix_kv_aware.weight_lod: unknown key; did you mean "weight_load"?',
            ),
            ("ratelimit: {burst: many}", "1: ratelimit.burst: must be a whole number"),
            ("budget: {default: 1}", '1: budget.default: unknown key; did you mean "default_usd"?'),
            (
                "routing: {latency_alpha: 1}",
                '1: routing.latency_alpha: unknown key; did you mean "latency_ewma_alpha"?',
            ),
        ],
    )
    def test_a_mistyped_key_of_the_first_generation_is_still_a_fault(self, text: str, fault: str) -> None:
        assert faults(text) == [f"kvgate.yaml:{fault}"]
