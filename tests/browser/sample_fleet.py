"""Made-up answers of the admin API, each in the shape of its message in proto/kvgate/admin/v1/admin.proto."""

from __future__ import annotations

import random
from typing import Any

Message = dict[str, Any]

TOKENS = {"input": 48_210_331, "cached": 35_402_118, "output": 6_203_114}
STATS: Message = {
    "requests": 19_587,
    "requests_inflight": 9,
    "models": [
        {
            "model": "chat-large",
            "requests_by_status": {"200": 15_310, "429": 41, "503": 6, "0": 22},
            "tokens": {"input": 39_210_331, "cached": 28_402_118, "output": 5_403_114},
            "cost_usd": 31.2,
        },
        {
            "model": "vision",
            "requests_by_status": {"200": 4_208},
            "tokens": {"input": 9_000_000, "cached": 7_000_000, "output": 800_000},
            "cost_usd": 9.9,
        },
    ],
    "cache": {"exact": 3120, "semantic": 214, "misses": 9822, "bypassed": 6400, "hit_rate": 0.2534},
    "tokens": TOKENS,
    "cost_usd": 41.1,
    "rate_limited": 41,
    "budget_rejected": 3,
    "failovers": 12,
    "replicas": {},
    "tenants": {},
}
CACHES: Message = {
    "exact": {
        "enabled": True,
        "hits": 3120,
        "misses": 9822,
        "stored": 9790,
        "evicted": 120,
        "garbage": 0,
        "dropped": 2,
        "entries": 8123,
        "held_bytes": 61_203_334,
    },
    "semantic": {
        "enabled": True,
        "same": 150,
        "learned": 64,
        "explored": 40,
        "agreed": 38,
        "misses": 8100,
        "stored": 8000,
        "without_vector": 0,
        "refused": {"numbers": 31, "negation": 9},
    },
}


def tenant(name: str, spent_usd: float, budget_usd: float, requests: int, window_ends_unix_s: float) -> Message:
    return {
        "name": name,
        "spent_usd": spent_usd,
        "budget_usd": budget_usd,
        "window_ends_unix_s": window_ends_unix_s,
        "rpm": 600,
        "tpm": 200_000,
        "requests": requests,
        "rate_limited": requests // 300,
        "budget_rejected": 0,
        "tokens": {"input": requests * 2400, "cached": requests * 1700, "output": requests * 310},
        "cache_scope": f"tenant:{name}",
    }


def replica(number: int) -> Message:
    """The replica of that number; always the same."""
    chance = random.Random(number)
    return {
        "name": f"replica-{number}",
        "address": f"10.0.{number // 250}.{number % 250}:8000",
        "pool": "vllm",
        "provider": "vllm",
        "models": ["chat-large", "vision"],
        "state": "serving",
        "weight": round(chance.uniform(0.4, 2.0), 2),
        "inflight": chance.randrange(9),
        "others_inflight": 0,
        "wait_s": chance.uniform(0, 0.3),
        "queued_tokens": chance.randrange(4000),
        "prefill_tokens_per_s": chance.uniform(6500, 8700),
        "base_s": chance.uniform(0.025, 0.05),
        "index_tokens": chance.randrange(250_000, 445_000),
        "capacity_tokens": 460_000,
        "host_tier_tokens": 1_900_000 if number % 2 else 0,
        "remote_tier_tokens": 42_000_000 if number % 2 else 0,
        "kv_usage": chance.uniform(0.05, 0.5),
        "routed": float(chance.randrange(2000, 9000)),
        "failures": 0,
        "latency_s": chance.uniform(1, 4),
        "warm_share": chance.uniform(0.5, 0.9),
        "recent_ttft_s": [chance.lognormvariate(-2.2, 0.5) for _ in range(60)],
        "from": "config",
        "changed": False,
    }


def decision(number: int, at_unix_s: float, replica_name: str, chance: random.Random) -> Message:
    """One of a busy gateway: mostly warm, sometimes answered from the exact cache."""
    prompt_tokens = chance.randrange(200, 9000)
    reason = chance.choice(("warm", "warm", "warm", "spread", "saturated"))
    share = chance.uniform(0.6, 0.98) if reason == "warm" else chance.uniform(0, 0.2)
    matched_tokens = int(prompt_tokens * share)
    predicted_ttft_s = 0.03 + (prompt_tokens - matched_tokens) / 8000
    found = {
        "id": number,
        "at_unix_s": at_unix_s,
        "request_id": f"{chance.getrandbits(64):016x}",
        "model": chance.choice(("chat-large", "vision")),
        "tenant": chance.choice(("team-a", "team-b", "batch")),
        "replica": replica_name,
        "served_by": replica_name,
        "reason": reason,
        "prompt_tokens": prompt_tokens,
        "matched_tokens": matched_tokens,
        "restorable_tokens": 0,
        "remote_tokens": 0,
        "cached_tokens": max(0, matched_tokens - chance.randrange(90)),
        "predicted_ttft_s": predicted_ttft_s,
        "ttft_s": predicted_ttft_s * chance.uniform(0.8, 1.5) if chance.random() < 0.7 else -1,
        "status": 200,
        "duration_s": chance.uniform(0.5, 6),
        "cache": chance.choice(("miss", "miss", "miss", "bypass", "exact")),
        "receipt": None,
    }
    if found["cache"] == "exact":
        found |= {"replica": "", "served_by": "", "reason": "", "matched_tokens": 0, "cached_tokens": -1}
        found |= {"predicted_ttft_s": 0, "ttft_s": -1, "duration_s": 0.001}
    return found


def receipt(of: Message, replicas: list[Message]) -> Message:
    """What `prefix_kv_aware` would have weighed up, more or less; the chosen replica first."""
    lines = [_candidate(of, each, place) for place, each in enumerate(replicas)]
    lines.sort(key=lambda line: (line["name"] != of["replica"], line["cost"]))
    about = {"strategy": "prefix_kv_aware", "reason": of["reason"], "prompt_tokens": of["prompt_tokens"]}
    return {**about, "replica": of["replica"], "replicas": lines}


def _candidate(of: Message, replica: Message, place: int) -> Message:
    chosen = replica["name"] == of["replica"]
    matched = of["matched_tokens"] if chosen else int(of["matched_tokens"] * 0.13 * (place % 4))
    restored = (of["prompt_tokens"] - matched) // 3 if replica["host_tier_tokens"] and not chosen else 0
    uncached = of["prompt_tokens"] - matched - restored
    wait_s = 0.0 if chosen else replica["wait_s"]
    own_s, restore_s = uncached / replica["prefill_tokens_per_s"], restored / 60_000
    terms = {
        "base_s": replica["base_s"],
        "wait_s": wait_s,
        "own_s": own_s,
        "copy_s": own_s * 0.21,
        "batch_s": 0.005 * replica["inflight"],
        "credit_s": -own_s * 0.1,
        "restore_s": restore_s,
    }
    return {
        "name": replica["name"],
        "cost": sum(terms.values()),
        "ttft_s": replica["base_s"] + wait_s + own_s + restore_s,
        "wait_s": wait_s,
        "matched_tokens": matched,
        "uncached_tokens": uncached,
        "tokens_per_s": round(replica["prefill_tokens_per_s"]),
        "base_s": replica["base_s"],
        "inflight": replica["inflight"],
        "restorable_tokens": restored,
        "restore_s": restore_s,
        "terms": terms,
    }
