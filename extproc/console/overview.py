"""`kvgate status`, `tenants`, `caches` and `config`: what a running gateway says of itself, for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from extproc.console.table import as_table, count, seconds, share


def status_lines(status: dict[str, Any], stats: dict[str, Any]) -> str:
    """How it is, in a dozen lines."""
    loaded = _time(status["config_loaded_unix_s"])
    lines = [
        f"KVGate {status['version']}, {'ready' if status['ready'] else 'NOT READY'}, up {seconds(status['uptime_s'])}",
        f"configuration  {status['config_path'] or 'of no file'}, read {loaded}",
        f"Envoys         {status['envoys']}",
        f"requests       {count(stats['requests'])} ended, {status['requests_inflight']} in flight",
        f"cache hits     {share(stats['cache']['hit_rate'])}"
        f" ({count(stats['cache']['exact'])} exact, {count(stats['cache']['semantic'])} semantic)",
        f"tokens         {count(stats['tokens']['input'])} in, {count(stats['tokens']['cached'])} of them cached, "
        f"{count(stats['tokens']['output'])} out",
        f"cost           ${stats['cost_usd']:.4f}",
        f"refused        {count(stats['rate_limited'])} by rate limits, {count(stats['budget_rejected'])} by budgets",
        f"failovers      {count(stats['failovers'])}",
    ]
    if status["config_error"]:
        lines += ["", "the file is not valid, and what it said before is in force:", status["config_error"]]
    return "\n".join([*lines, *(f"warning: {each}" for each in status["warnings"])])


_NUMBERS = ("SPENT", "BUDGET", "RPM", "TPM", "REQUESTS", "429", "402", "TOKENS IN", "TOKENS OUT")


def tenant_lines(tenants: list[dict[str, Any]]) -> str:
    """A line each."""
    rows = [
        (
            each["name"],
            f"${each['spent_usd']:.4f}",
            "-" if each["budget_usd"] < 0 else f"${each['budget_usd']:g}",
            str(each["rpm"] or "-"),
            count(each["tpm"]) if each["tpm"] else "-",
            count(each["requests"]),
            count(each["rate_limited"]),
            count(each["budget_rejected"]),
            count(each["tokens"]["input"]),
            count(each["tokens"]["output"]),
            _time(each["window_ends_unix_s"]),
        )
        for each in tenants
    ]
    return as_table(("TENANT", *_NUMBERS, "WINDOW ENDS"), rows, right=_NUMBERS)


def cache_lines(caches: dict[str, Any]) -> str:
    """Both, as far as they are on."""
    exact, semantic = caches["exact"], caches["semantic"]
    lines = ["exact     off"]
    if exact["enabled"]:
        held = "in Redis" if exact["entries"] < 0 else f"{count(exact['entries'])} kept"
        lines = [f"exact     {count(exact['hits'])} hits, {count(exact['misses'])} misses, {held}"]
    if semantic["enabled"]:
        hits = semantic["same"] + semantic["learned"]
        lines.append(f"semantic  {count(hits)} hits, {count(semantic['misses'])} misses")
    else:
        lines.append("semantic  off")
    return "\n".join(lines)


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
