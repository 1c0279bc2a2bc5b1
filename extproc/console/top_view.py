"""One look at a running gateway -> lines on a screen. Values in, rich renderables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.console.table import count, seconds, share

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 20
_STATES = {"serving": "green", "draining": "yellow", "in_doubt": "red", "removed": "dim"}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment.

    Args:
        requests_per_s: since the look before; None for the first.
    """

    status: dict[str, Any]
    stats: dict[str, Any]
    replicas: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    requests_per_s: float | None = None

    def as_data(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "stats": self.stats,
            "replicas": self.replicas,
            "decisions": self.decisions,
            "requests_per_s": self.requests_per_s,
        }


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """The latest values as bars, the highest as a full one.

    >>> sparkline([1, 2, 4, 8])
    '▁▂▄█'
    """
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS) - 1e-9))] for value in shown)


def view(look: Look, note: str = "") -> RenderableType:
    """The whole screen.

    Args:
        note: of what went wrong with the latest look.
    """
    parts: list[RenderableType] = [_headline(look)]
    if look.status["config_error"]:
        parts.append(Text(f"configuration not taken: {look.status['config_error'].splitlines()[0]}", style="red"))
    parts += [Text(f"! {warning}", style="yellow") for warning in look.status["warnings"][:5]]
    if note:
        parts.append(Text(note, style="bold red"))
    parts += [Text(), _replicas(look.replicas), Text(), _decisions(look.decisions)]
    return Group(*parts)


def _headline(look: Look) -> Text:
    status, stats = look.status, look.stats
    rate = "" if look.requests_per_s is None else f"{look.requests_per_s:.1f} req/s"
    facts = [
        f"up {seconds(status['uptime_s'])}",
        f"{status['envoys']} Envoy{'' if status['envoys'] == 1 else 's'}",
        f"{status['requests_inflight']} in flight",
        rate,
        f"cache hits {share(stats['cache']['hit_rate'])}",
        f"{count(stats['failovers'])} failovers",
    ]
    line = Text()
    line.append(f"KVGate {status['version']} ", style="bold")
    line.append("ready" if status["ready"] else "NOT READY", style="green" if status["ready"] else "bold red")
    return line.append("  " + "  ".join(filter(None, facts)))


def _replicas(replicas: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("REPLICA", "STATE"):
        table.add_column(heading, no_wrap=True)
    for heading in ("FLIGHT", "WAIT", "QUEUED", "WARM", "CACHE", "TTFT"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("LATEST", no_wrap=True)
    for each in replicas:
        ttfts, others, capacity = each["recent_ttft_s"], each["others_inflight"], each["capacity_tokens"]
        table.add_row(
            each["name"],
            Text(each["state"], style=_STATES.get(each["state"], "")),
            f"{each['inflight']}+{others}" if others else str(each["inflight"]),
            seconds(each["wait_s"]),
            count(each["queued_tokens"]),
            share(each["warm_share"]),
            share(each["index_tokens"] / capacity) if capacity else count(each["index_tokens"]),
            seconds(sorted(ttfts)[len(ttfts) // 2]) if ttfts else "-",
            Text(sparkline(ttfts), style="cyan"),
        )
    return table


def _decisions(decisions: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("TIME", "MODEL", "TENANT", "REPLICA", "WHY"):
        table.add_column(heading, no_wrap=True)
    for heading in ("PROMPT", "MATCHED", "CACHED", "PREDICTED", "TTFT", "TOOK", "STATUS"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in decisions:
        failed_over = each["served_by"] and each["served_by"] != each["replica"]
        bad = each["status"] >= 400 or (not each["status"] and each["duration_s"] >= 0)
        table.add_row(
            datetime.fromtimestamp(each["at_unix_s"]).astimezone().strftime("%H:%M:%S"),
            each["model"],
            each["tenant"],
            f"{each['replica']}>{each['served_by']}" if failed_over else each["replica"] or "(cache)",
            each["reason"] or each["cache"],
            count(each["prompt_tokens"]),
            count(each["matched_tokens"] + each["restorable_tokens"]),
            "-" if each["cached_tokens"] < 0 else count(each["cached_tokens"]),
            seconds(each["predicted_ttft_s"]) if each["replica"] else "-",
            "-" if each["ttft_s"] < 0 else seconds(each["ttft_s"]),
            "..." if each["duration_s"] < 0 else seconds(each["duration_s"]),
            Text(str(each["status"] or "-"), style="red" if bad else ""),
        )
    return table
