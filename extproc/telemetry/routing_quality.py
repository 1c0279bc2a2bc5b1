"""How good decisions were: what was predicted of a request against what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from extproc.fleet.outcome import Outcome
from extproc.telemetry.instruments import MOST_MODELS, OTHER, Counter, Family, Histogram

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_RATIOS = tuple(round(2 ** (exponent / 2), 4) for exponent in range(-8, 9))
"""1/16 to 16, two buckets a doubling: an error of a factor looks the same in either direction."""
_TTFT_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.5, 5.0, 10.0, 20.0, 60.0)
_BLOCKS = (0, 1, 4, 16, 64, 256, 1024, 4096, 16384)
CREDIBLE_TOKENS = 100_000_000
"""In one prompt. An engine that reports more is not believed, since a counter never recovers from it."""


class RoutingQuality:
    """Counts outcomes, by model.

    Args:
        block_size: tokens of text in a fingerprint block, as configured now.
    """

    title = "Routing"

    def __init__(self, block_size: Callable[[], int]) -> None:
        self._families = _Families()
        self._block_size = block_size
        self._models: dict[str, _OfModel] = {}

    def observe(self, outcome: Outcome) -> None:
        """Counts one."""
        of_model = self._models.get(outcome.model)
        if of_model is None:
            model = outcome.model if len(self._models) < MOST_MODELS else OTHER
            of_model = self._models.setdefault(model, _OfModel(self._families, model))
        of_model.observe_choice(outcome, self._block_size())
        of_model.observe_cache(outcome)
        of_model.observe_ttft(outcome)
        of_model.observe_estimate(outcome)

    def decided(self, model: str, provider: str, upstream_model: str) -> None:
        """Counts a request that was sent on."""
        self._families.decisions.of(model, provider, upstream_model).value += 1

    def families(self) -> Iterator[Family]:
        yield from vars(self._families).values()


class _Families:
    """The metrics, each with a label for the model."""

    def __init__(self) -> None:
        self.decisions = Counter(
            "kvgate_routing_decisions_total",
            "Requests sent on, by model, provider of the first choice, and the engine's name for the model.",
            *("model", "provider", "upstream_model"),
        )
        self.affinity = Counter(
            "kvgate_routing_affinity_total",
            "Requests served, by whether a prefix was expected to be cached where they were sent.",
            *("model", "outcome"),
        )
        self.matched_blocks = Histogram(
            "kvgate_routing_affinity_matched_blocks",
            "Prompt expected to be cached, in fingerprint blocks of text (tokens / block_size).",
            _BLOCKS,
            "model",
        )
        self.trimmed_tokens = Counter(
            "kvgate_routing_trimmed_tokens_total",
            "Tokens that were believed to be cached until an answer told otherwise.",
            "model",
        )
        self.predicted_tokens = Counter(
            "kvgate_routing_predicted_cached_tokens_total",
            "Prompt tokens expected to be cached, of requests whose engine said how many were.",
            "model",
        )
        self.cached_tokens = Counter(
            "kvgate_routing_actual_cached_tokens_total",
            "Prompt tokens that were cached, by the engine's count, of the same requests.",
            "model",
        )
        self.cached_error = Histogram(
            "kvgate_routing_cached_tokens_error_ratio",
            "Tokens expected and found in the cache: their difference as a share of the prompt, 0 to 1.",
            _SHARES,
            "model",
        )
        self.judged = Counter(
            "kvgate_routing_judged_total", "Requests of which can be told whether they were misrouted.", "model"
        )
        self.misrouted = Counter(
            "kvgate_routing_misrouted_total",
            "Of those, requests that another replica was believed to hold more of than was cached where they went.",
            "model",
        )
        self.ttft_s = Histogram(
            "kvgate_time_to_first_token_seconds",
            "Seconds from the decision to the first chunk of the answer, of a bounded sample of streams.",
            _TTFT_S,
            "model",
        )
        self.ttft_ratio = Histogram(
            "kvgate_routing_ttft_predicted_over_observed",
            "Predicted time to first token / observed; 1 is right, 2 is twice as long as it took.",
            _RATIOS,
            "model",
        )
        self.estimated_tokens = Counter(
            "kvgate_prompt_tokens_estimated_total",
            "Prompt tokens as estimated, where the engine counted them too.",
            "model",
        )
        self.counted_tokens = Counter(
            "kvgate_prompt_tokens_counted_total",
            "Prompt tokens as counted by the engine, of the same requests.",
            "model",
        )
        self.estimate_error = Histogram(
            "kvgate_prompt_tokens_error_ratio", "Prompt tokens: |estimated - counted| / counted.", _SHARES, "model"
        )


class _OfModel:
    """The metrics of one model."""

    def __init__(self, families: _Families, model: str) -> None:
        self._warm = families.affinity.of(model, "warm")
        self._cold = families.affinity.of(model, "cold")
        self._matched_blocks = families.matched_blocks.of(model)
        self._trimmed_tokens = families.trimmed_tokens.of(model)
        self._predicted_tokens = families.predicted_tokens.of(model)
        self._cached_tokens = families.cached_tokens.of(model)
        self._cached_error = families.cached_error.of(model)
        self._judged = families.judged.of(model)
        self._misrouted = families.misrouted.of(model)
        self._ttft_s = families.ttft_s.of(model)
        self._ttft_ratio = families.ttft_ratio.of(model)
        self._estimated_tokens = families.estimated_tokens.of(model)
        self._counted_tokens = families.counted_tokens.of(model)
        self._estimate_error = families.estimate_error.of(model)

    def observe_choice(self, outcome: Outcome, block_size: int) -> None:
        (self._warm if outcome.predicted_tokens else self._cold).value += 1
        self._matched_blocks.observe(outcome.predicted_tokens // block_size)
        if outcome.trimmed_tokens > 0:
            self._trimmed_tokens.value += outcome.trimmed_tokens

    def observe_cache(self, outcome: Outcome) -> None:
        cached_tokens, predicted_tokens = outcome.cached_tokens, outcome.predicted_tokens
        if cached_tokens is None or not outcome.first_choice:
            return
        self._predicted_tokens.value += predicted_tokens
        self._cached_tokens.value += cached_tokens
        self._cached_error.observe(abs(predicted_tokens - cached_tokens) / max(1, outcome.prompt_tokens))
        misrouted = outcome.misrouted
        if misrouted is not None:
            self._judged.value += 1
            self._misrouted.value += misrouted

    def observe_ttft(self, outcome: Outcome) -> None:
        if outcome.ttft_s is None:
            return
        self._ttft_s.observe(outcome.ttft_s)
        if outcome.predicted_ttft_s is not None and outcome.first_choice and outcome.ttft_s > 0:
            self._ttft_ratio.observe(outcome.predicted_ttft_s / outcome.ttft_s)

    def observe_estimate(self, outcome: Outcome) -> None:
        counted = outcome.usage.prompt_tokens
        if counted is None or not 0 < counted <= CREDIBLE_TOKENS:
            return
        self._estimated_tokens.value += outcome.prompt_tokens
        self._counted_tokens.value += counted
        self._estimate_error.observe(abs(outcome.prompt_tokens - counted) / counted)
