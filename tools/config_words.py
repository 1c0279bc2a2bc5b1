"""What the configuration reference says beyond the settings model: an opening, examples, what names leave unsaid."""

from __future__ import annotations

INTRODUCTION = """\
# Configuration reference

Written from the settings model by `make docs`; a test compares the two. The file is `kvgate.yaml`, `-c FILE` or
`$KVGATE_CONFIG`.

- `${VAR}` and `${VAR:-default}` expand anywhere in a value. A variable that is not set and has no default is an error.
  `$${` is a literal `${`.
- An unknown key is an error that names the line and the nearest known key. `kvgate validate -c FILE` checks a file and
  starts nothing.
- Every section may be left out. An empty default means: not set.
- `name[]` is a list; its settings stand in each entry.
- A saved file takes effect within a second, or at once on SIGHUP. A file that is not valid changes nothing. What needs
  a restart is listed in the [user guide](guide.md#configuration); the log names it too.
"""

DESCRIPTIONS = {
    "server.host": "address of the public listener",
    "server.port": "port of the public listener",
    "server.log_level": "of `kvgate`'s own log; `DEBUG` has one line a routing decision",
    "server.max_body_bytes": "a larger request is 413",
    "server.tls.cert": "certificate chain, PEM",
    "server.tls.key": "private key, PEM",
    "server.tls.port": "port of the TLS listener; the plain one stays",
    "envoy.admin_host": "address of Envoy's own admin page; keep it on loopback, it can stop Envoy",
    "envoy.admin_port": "port of Envoy's own admin page",
    "envoy.log_level": "of Envoy's log",
    "operations.host": "address of the operations listener; keep it where only operators and Prometheus reach it",
    "operations.port": "port of the operations listener",
    "routing.strategy": "see [where a request goes](guide.md#where-a-request-goes)",
    "auth.enabled": "a request needs a key or a tenant",
    "auth.api_keys[].key_sha256": "SHA-256 of the key, 64 hexadecimal digits",
    "auth.api_keys[].tenant": "whose key it is",
    "tenants[].name": "as `auth.api_keys[].tenant` or the tenant header says it",
    "ratelimit.enabled": "false: no limits, although the section is there",
    "budget.enabled": "spend is counted and limited",
    "cache.enabled": "answers are kept and given again",
    "cache.ttl_seconds": "how long an answer may be given again",
    "cache.semantic.enabled": "see [the semantic cache](tenants-and-caches.md#semantic-cache)",
    "cache.semantic.embedder": "what turns a prompt into a vector",
    "cache.semantic.model": "of the embedder; `hashing` has none",
    "cache.semantic.max_entries": "questions that are kept",
    "telemetry.service_name": "`service.name` of its spans",
    "kv_store.host": "where it listens; anywhere but on loopback needs `tls.client_ca` or `trusted_network`",
    "kv_store.port": "what LMCache's `resp` adapter is given",
    "kv_store.tls.cert": "PEM, with intermediates",
    "kv_store.tls.key": "PEM",
    "providers[].name": "what `models[].deployments[].provider` calls it",
    "providers[].type": "`mock` starts simulated replicas; `openai` and `anthropic` are the hosted APIs",
    "providers[].base_url": "the address, if there is one replica only",
    "providers[].replicas[].url": "scheme, host, port; a host name is resolved every ten seconds",
    "programs[].name": "what the log puts in front of its lines",
    "models[].name": "what clients put into `model`",
    "models[].deployments[].provider": "name of a provider above",
    "models[].deployments[].weight": "times the replica's own weight, under `weighted` and `session`",
}
"""For settings whose model says nothing. A test finds those that are missing here, or no longer needed."""

EXAMPLES = {
    "server": """\
server: {port: 8080, log_level: INFO, request_timeout_s: 300}
""",
    "server.tls": """\
server:
  tls: {cert: /etc/tls/tls.crt, key: /etc/tls/tls.key, port: 8443}
""",
    "envoy": """\
envoy: {concurrency: 4, log_level: warning}
""",
    "operations": """\
operations: {host: 127.0.0.1, port: 8081}
""",
    "processor": """\
processor: {listen: "0.0.0.0:9002", drain_timeout_s: 60}
""",
    "telemetry": """\
telemetry: {otlp_endpoint: "http://collector:4317", sample_ratio: 0.1, request_log: stdout}
""",
    "kv_store.tls": """\
kv_store:
  servers: ["redis-0.redis:6379"]
  tls: {cert: /etc/tls/tls.crt, key: /etc/tls/tls.key, client_ca: /etc/tls/clients.crt}
""",
    "kv_store.upstream_tls": """\
kv_store:
  servers: ["redis-0.redis:6379"]
  upstream_tls: {ca: /etc/tls/redis-ca.crt}
""",
    "kv_store": """\
kv_store:
  servers: ["redis-0.redis:6379", "redis-1.redis:6379"]
  auth_password: "${KV_PASSWORD}"
""",
    "routing": """\
routing:
  strategy: prefix_kv_aware
  failure_threshold: 3
  cooldown_s: 15
""",
    "routing.prefix_kv_aware": """\
routing:
  prefix_kv_aware: {block_size: 64, max_blocks_per_replica: 200000}
""",
    "auth": """\
auth:
  enabled: true
  api_keys:
    - {key: "${TEAM_A_KEY}", tenant: team-a}
""",
    "auth.api_keys[]": """\
auth:
  enabled: true
  api_keys:
    - {key: "${TEAM_A_KEY}", tenant: team-a, rpm: 60, models: [small]}
    - {key_sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b, tenant: team-b, budget_usd: 5}
""",
    "tenants[]": """\
tenants:
  - {name: team-a, rpm: 600, tpm: 200000, budget_usd: 20, models: [small]}
""",
    "ratelimit": """\
ratelimit: {backend: redis, redis_url: "${REDIS_URL}", default_rpm: 300, burst: 60, when_down: open}
""",
    "budget": """\
budget: {enabled: true, backend: redis, redis_url: "${REDIS_URL}", default_usd: 5, window_s: 86400}
""",
    "cache": """\
cache: {mode: deterministic, ttl_seconds: 3600, max_bytes: 268435456}
""",
    "cache.semantic": """\
cache:
  semantic: {enabled: true, embedder: hashing, threshold: 0.95, max_error_rate: 0.01}
""",
    "providers[]": """\
providers:
  - name: vllm
    api_key: ${VLLM_KEY}
    host_cache_tokens: 4000000
    remote_cache_tokens: 12000000
    replicas: [http://10.0.0.1:8000, http://10.0.0.2:8000]
  - name: vllm-of-8
    data_parallel_size: 8
    kv_events: {port: 5600, replay_port: 5700}
    base_url: http://10.0.0.3:8000
  - {name: plain, engine: openai, base_url: "http://10.0.0.4:8000", health_path: /ready}
""",
    "providers[].replicas[]": """\
providers:
  - name: vllm
    replicas:
      - {name: gpu-1, url: "http://10.0.0.1:8000", weight: 2, kv_domain: node-1}
      - {name: gpu-2, url: "http://10.0.0.2:8000", kv_domain: node-1}
""",
    "providers[].kv_events": """\
providers:
  - name: vllm
    kv_events: {port: 5557, replay_port: 5558, topic: kv-events}
    replicas:
      - http://10.0.0.1:8000
      - {url: "http://10.0.0.2:8000", kv_events_url: "tcp://10.0.0.2:5667", replay_url: "tcp://10.0.0.2:5668"}
""",
    "models[]": """\
providers:
  - {name: vllm, base_url: "http://10.0.0.1:8000"}
models:
  - name: small
    image_tokens: llava_onevision
    deployments: [{provider: vllm}]
  - name: small-sql
    lora: true
    deployments: [{provider: vllm, model: sql-adapter}]
""",
    "programs[]": """\
programs:
  - name: redis
    command: [redis-server, --port, 16379, --bind, 127.0.0.1]
    ready_url: tcp://127.0.0.1:16379
  - name: vllm-0
    command: [vllm, serve, org/small-8b, --port, 8000]
    env: {CUDA_VISIBLE_DEVICES: 0}
    ready_url: http://127.0.0.1:8000/health
    after: [redis]
""",
    "models[].deployments[]": """\
providers:
  - {name: vllm, base_url: "http://10.0.0.1:8000"}
models:
  - name: small
    deployments:
      - {provider: vllm, model: org/small-8b, cost_per_1k_input: 0.0002, cost_per_1k_output: 0.0006}
""",
}
"""A file that loads, by section."""
