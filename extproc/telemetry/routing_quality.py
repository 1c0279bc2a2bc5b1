"""How good decisions were: what was predicted of a request against what came of it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

from extproc.fleet.outcome import Outcome

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_RATIOS = tuple(round(2 ** (exponent / 2), 4) for exponent in range(-8, 9))
"""1/16 to 16, two buckets a doubling: an error of a factor looks the same in either direction."""
_TTFT_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.5, 5.0, 10.0, 20.0, 60.0)
_BLOCKS = (0, 1, 4, 16, 64, 256, 1024, 4096, 16384)
_CREDIBLE_TOKENS = 100_000_000
"""In one prompt. An engine that reports more is not believed, since a counter never recovers from it."""


class RoutingQuality:
    """Counts outcomes, by model.

    Args:
        block_size: tokens of text in a fingerprint block, as configured now.
    """

    def __init__(self, registry: CollectorRegistry, block_size: Callable[[], int]) -> None:
        self._families = _Families(registry)
        self._block_size = block_size
        self._models: dict[str, _OfModel] = {}  # looking a label up costs as much as counting

    def observe(self, outcome: Outcome) -> None:
        """Counts one."""
        of_model = self._models.get(outcome.model)
        if of_model is None:
            of_model = self._models[outcome.model] = _OfModel(self._families, outcome.model)
        of_model.observe_choice(outcome, self._block_size())
        of_model.observe_cache(outcome)
        of_model.observe_ttft(outcome)
        of_model.observe_estimate(outcome)


class _Families:
    """The metrics, each with a label for the model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ["model", *labels], registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, ["model"], buckets=buckets, registry=registry)

        self.affinity = counter(
            "kvgate_routing_affinity_total",
            "Requests served, by whether a prefix was expected to be cached where they were sent.",
            "outcome",
        )
        self.matched_blocks = histogram(
            "kvgate_routing_affinity_matched_blocks",
            "Prompt expected to be cached, in fingerprint blocks of text (tokens / block_size).",
            _BLOCKS,
        )
        self.trimmed_tokens = counter(
            "kvgate_routing_trimmed_tokens_total",
            "Tokens that were believed to be cached until an answer told otherwise.",
        )
        self.predicted_tokens = counter(
            "kvgate_routing_predicted_cached_tokens_total",
            "Prompt tokens expected to be cached, of requests whose engine said how many were.",
        )
        self.cached_tokens = counter(
            "kvgate_routing_actual_cached_tokens_total",
            "Prompt tokens that were cached, by the engine's count, of the same requests.",
        )
        self.cached_error = histogram(
            "kvgate_routing_cached_tokens_error_ratio",
            "Tokens expected and found in the cache: their difference as a share of the prompt, 0 to 1.",
            _SHARES,
        )
        self.judged = counter(
            "kvgate_routing_judged_total", "Requests of which can be told whether they were misrouted."
        )
        self.misrouted = counter(
            "kvgate_routing_misrouted_total",
            "Of those, requests that another replica was believed to hold more of than was cached where they went.",
        )
        self.ttft_s = histogram(
            "kvgate_time_to_first_token_seconds",
            "Seconds from the decision to the first chunk of the answer, of a bounded sample of streams.",
            _TTFT_S,
        )
        self.ttft_ratio = histogram(
            "kvgate_routing_ttft_predicted_over_observed",
            "Predicted time to first token / observed; 1 is right, 2 is twice as long as it took.",
            _RATIOS,
        )
        self.estimated_tokens = counter(
            "kvgate_prompt_tokens_estimated_total", "Prompt tokens as estimated, where the engine counted them too."
        )
        self.counted_tokens = counter(
            "kvgate_prompt_tokens_counted_total", "Prompt tokens as counted by the engine, of the same requests."
        )
        self.estimate_error = histogram(
            "kvgate_prompt_tokens_error_ratio", "Prompt tokens: |estimated - counted| / counted.", _SHARES
        )


class _OfModel:
    """The metrics of one model."""

    def __init__(self, families: _Families, model: str) -> None:
        self._warm = families.affinity.labels(model, "warm")
        self._cold = families.affinity.labels(model, "cold")
        self._matched_blocks = families.matched_blocks.labels(model)
        self._trimmed_tokens = families.trimmed_tokens.labels(model)
        self._predicted_tokens = families.predicted_tokens.labels(model)
        self._cached_tokens = families.cached_tokens.labels(model)
        self._cached_error = families.cached_error.labels(model)
        self._judged = families.judged.labels(model)
        self._misrouted = families.misrouted.labels(model)
        self._ttft_s = families.ttft_s.labels(model)
        self._ttft_ratio = families.ttft_ratio.labels(model)
        self._estimated_tokens = families.estimated_tokens.labels(model)
        self._counted_tokens = families.counted_tokens.labels(model)
        self._estimate_error = families.estimate_error.labels(model)

    def observe_choice(self, outcome: Outcome, block_size: int) -> None:
        (self._warm if outcome.predicted_tokens else self._cold).inc()
        self._matched_blocks.observe(outcome.predicted_tokens // block_size)
        if outcome.trimmed_tokens > 0:
            self._trimmed_tokens.inc(outcome.trimmed_tokens)

    def observe_cache(self, outcome: Outcome) -> None:
        cached_tokens, predicted_tokens = outcome.cached_tokens, outcome.predicted_tokens
        if cached_tokens is None or not outcome.first_choice:
            return
        self._predicted_tokens.inc(predicted_tokens)
        self._cached_tokens.inc(cached_tokens)
        self._cached_error.observe(abs(predicted_tokens - cached_tokens) / max(1, outcome.prompt_tokens))
        misrouted = outcome.misrouted
        if misrouted is not None:
            self._judged.inc()
            self._misrouted.inc(misrouted)

    def observe_ttft(self, outcome: Outcome) -> None:
        if outcome.ttft_s is None:
            return
        self._ttft_s.observe(outcome.ttft_s)
        if outcome.predicted_ttft_s is not None and outcome.first_choice and outcome.ttft_s > 0:
            self._ttft_ratio.observe(outcome.predicted_ttft_s / outcome.ttft_s)

    def observe_estimate(self, outcome: Outcome) -> None:
        counted = outcome.usage.prompt_tokens
        if counted is None or not 0 < counted <= _CREDIBLE_TOKENS:
            return
        self._estimated_tokens.inc(outcome.prompt_tokens)
        self._counted_tokens.inc(counted)
        self._estimate_error.observe(abs(outcome.prompt_tokens - counted) / counted)
