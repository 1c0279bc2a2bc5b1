"""The common half of the baselines that look at caches."""

from __future__ import annotations

from bench.routing.baselines.load import Load
from bench.routing.baselines.views import View
from bench.routing.request import BenchRequest


class CacheAware(Load):
    """Chooses from what each replica holds; a subclass has `pick`."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def pick(self, request: BenchRequest, matched: dict[int, int]) -> int:
        """The replica, given the prompt tokens that each live one holds."""
        raise NotImplementedError

    def choose(self, request: BenchRequest, now_s: float) -> tuple[int, int]:
        matched = self._view.matched(request, self.live)
        replica = self.pick(request, matched)
        self._view.routed(request, replica)
        return replica, request.prompt_tokens - matched[replica]

    def first_token(self, request: BenchRequest, replica: int, now_s: float) -> None:
        super().first_token(request, replica, now_s)
        self._view.computed(request, replica)

    def up(self, replica: int, capacity_tokens: int, now_s: float) -> None:
        super().up(replica, capacity_tokens, now_s)
        self._view.up(replica, capacity_tokens)

    def down(self, replica: int, now_s: float) -> None:
        super().down(replica, now_s)
        self._view.down(replica)
