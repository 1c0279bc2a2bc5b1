"""What a client says about the cache: the request header `x-kvgate-cache-control`."""

from __future__ import annotations

from dataclasses import dataclass

HEADER = "x-kvgate-cache-control"


@dataclass(frozen=True, slots=True)
class Directives:
    """The words mean what they mean in a request's Cache-Control (RFC 9111, 5.2.1), where it has them.

    Args:
        no_store: no stored answer is used and this one is not stored.
        no_cache: no stored answer is used; this one is stored, in place of what was there.
        max_age_s: only answers of at most this age are used.
        force: an answer may be kept although the request is not deterministic, or names media that the gateway
            does not see. What changes state, or depends on state that the engine keeps, stays out all the same.
    """

    no_store: bool = False
    no_cache: bool = False
    max_age_s: float | None = None
    force: bool = False

    @classmethod
    def parse(cls, header: str) -> Directives:
        """Reads the header's value, in any case and order. Unknown words are ignored.

        A `max-age` that is no number counts as 0, as RFC 9111 (4.2.1) advises: who wrote it wanted fresh answers.

        >>> Directives.parse("max-age=60, Force")
        Directives(no_store=False, no_cache=False, max_age_s=60.0, force=True)
        """
        words: set[str] = set()
        ages: list[float] = []
        for word in header.lower().split(","):
            name, _, value = word.partition("=")
            words.add(name.strip())
            if name.strip() == "max-age":
                ages.append(_seconds(value))
        return cls(
            no_store="no-store" in words,
            no_cache="no-cache" in words,
            max_age_s=min(ages, default=None),
            force="force" in words,
        )


def _seconds(value: str) -> float:
    digits = value.strip().strip('"')
    return float(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0.0
