"""The step that asks whether a request is within its limits: requests, tokens and spend, of its key and its tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extproc.api.errors import BudgetExhausted, GatewayError, PolicyUnavailable, RateLimited
from extproc.metering.meter import Prices
from extproc.tenants.ledger import Ask, Ledger, Verdict

if TYPE_CHECKING:
    from extproc.gateway.exchange import Exchange

_TEMPLATE_TOKENS = 32  # what a chat template adds is not in a cold estimate, and many short prompts at once would tell


class Admit:
    """Limits and budgets in one question, since with Redis each question is a round trip.

    What the request is expected to take is reserved: its prompt as estimated, and as many tokens as it may generate.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, exchange: Exchange) -> None:
        policies = exchange.directory.policies
        if not policies.limited:
            return
        request, caller = exchange.request, exchange.caller
        answer_tokens = policies.reserve_tokens if request.max_tokens is None else request.max_tokens
        answer_tokens *= request.n * (1 + len(request.batch))
        prompt_tokens = exchange.chain.prompt_tokens
        cost_nusd = max(
            Prices.of(target).cost_nusd(prompt_tokens + _TEMPLATE_TOKENS, 0, answer_tokens)
            for target in exchange.model.targets
        )
        ask = Ask(caller, prompt_tokens + answer_tokens, cost_nusd, exchange.ticket)
        verdict = await self._ledger.admit(ask)
        if verdict.refused is not None:
            raise _refusal(ask, verdict)
        exchange.bill = ask.bill(verdict)
        rates = [rules.rpm for rules in (caller.key_rules, caller.tenant_rules) if rules.rpm is not None]
        if rates and verdict.remaining is not None:
            exchange.notes["ratelimit_limit"] = f"{min(rates):.0f}"
            exchange.notes["ratelimit_remaining"] = str(max(0, verdict.remaining))

    def release(self, exchange: Exchange) -> None:
        """The request came to nothing, or cost nothing."""
        if exchange.bill is not None:
            self._ledger.settle(exchange.bill.used(tokens=0, cost_nusd=0))
            exchange.bill = None


def _refusal(ask: Ask, verdict: Verdict) -> GatewayError:
    whose = verdict.scope or "tenant"
    rules = ask.caller.key_rules if whose == "key" else ask.caller.tenant_rules
    if verdict.refused == "unavailable":
        return PolicyUnavailable()
    if verdict.refused == "budget":
        return BudgetExhausted(whose, verdict.retry_after_s)
    rate = rules.rpm if verdict.refused == "requests" else rules.tpm
    return RateLimited(
        whose,
        verdict.refused or "requests",
        limit=rate or 0.0,
        remaining=verdict.remaining or 0,
        retry_after_s=verdict.retry_after_s,
        reset_s=verdict.reset_s or verdict.retry_after_s,
    )
