"""Whether what the gateway leans on is there: Envoys, Redis, its configuration; and what got lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from extproc.telemetry.instruments import Family, Reading, gauge


class HealthPage:
    """Reads them.

    Args:
        configuration: when what is in force was read, Unix time, and whether the file was refused since.
        envoys: that take their configuration from here.
        redis: whether each answers, by address.
        dropped: events that came to nothing, by where they came from.
    """

    title = "What it leans on"

    def __init__(
        self,
        configuration: Callable[[], tuple[float, bool]],
        envoys: Callable[[], int],
        redis: Callable[[], Mapping[str, bool]],
        dropped: Callable[[], Mapping[str, int]],
    ) -> None:
        self._configuration = configuration
        self._envoys = envoys
        self._redis = redis
        self._dropped = dropped

    def families(self) -> Iterator[Family]:
        loaded_unix_s, refused = self._configuration()
        yield gauge("kvgate_envoys", "Envoys that take their configuration from this processor.", self._envoys())
        yield Reading(
            "kvgate_redis_up",
            "gauge",
            "Whether the latest call to a Redis succeeded, 0 or 1; absent where none is configured.",
            ("redis",),
            [((address,), up) for address, up in self._redis().items()],
        )
        yield gauge(
            "kvgate_config_last_reload_failed",
            "1 while the file as it is now was refused and what was read before is in force, else 0.",
            refused,
        )
        yield gauge(
            "kvgate_config_loaded_timestamp_seconds", "When what is in force was read, Unix time.", loaded_unix_s
        )
        yield Reading(
            "kvgate_events_dropped_total",
            "counter",
            "What came to nothing, by source: reports of Envoy and engines, answers not stored, lines not written.",
            ("source",),
            [((source,), count) for source, count in self._dropped().items()],
        )


def dropped_events(faults: Mapping[str, int], not_stored: int) -> dict[str, int]:
    """Events that came to nothing, by where they came from.

    Args:
        faults: as the fleet counts them, by kind.
        not_stored: answers that were too large to keep, or for which the way to the store was full or broken.
    """
    return {
        "access_log": faults.get("unmatched report", 0) + faults.get("impossible usage", 0),
        "engine_metrics": sum(count for kind, count in faults.items() if kind.startswith("metrics: ")),
        "answer_store": not_stored,
    }
