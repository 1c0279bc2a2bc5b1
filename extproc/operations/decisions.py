"""The latest decisions, as the admin API shows them."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.admin.errors import Invalid, NotFound
from extproc.admin.v1 import admin_pb2 as pb
from extproc.gateway.decisions import Decision
from extproc.gateway.decisions import Decisions as Ring

_USUAL, _MOST = 100, 1000


@dataclass(frozen=True, slots=True)
class Decisions:
    """See `admin.parts.Decisions`."""

    ring: Ring

    def list(self, request: pb.ListDecisionsRequest) -> pb.Decisions:
        limit = request.limit or _USUAL
        if not 0 < limit <= _MOST:
            raise Invalid(f"limit must be from 1 to {_MOST}.")
        after, before = _number("after_id", request.after_id), _number("before_id", request.before_id)
        found = self.ring.latest(limit, after=after, before=before)
        return pb.Decisions(decisions=[_shown(each) for each in found], kept=len(self.ring))

    def get(self, request: pb.GetDecisionRequest) -> pb.Decision:
        found = self.ring.find(_number("id", request.id))
        if found is None:
            raise NotFound(f"No decision with id {request.id:.0f} is kept; there are the latest {len(self.ring)}.")
        shown = _shown(found)
        shown.receipt.update(found.receipt())
        return shown


def _number(name: str, value: float) -> int:
    if not 0 <= value < 2**53 or not value.is_integer():
        raise Invalid(f"{name} must be a whole number.")
    return int(value)


def _shown(decision: Decision) -> pb.Decision:
    return pb.Decision(
        id=decision.number,
        at_unix_s=decision.at_unix_s,
        request_id=decision.request_id,
        model=decision.model,
        tenant=decision.tenant,
        replica=decision.replica,
        served_by=decision.served_by,
        reason=decision.reason,
        prompt_tokens=decision.prompt_tokens,
        matched_tokens=decision.matched_tokens,
        restorable_tokens=decision.restorable_tokens,
        remote_tokens=decision.remote_tokens,
        cached_tokens=-1 if decision.cached_tokens is None else decision.cached_tokens,
        predicted_ttft_s=decision.predicted_ttft_s,
        ttft_s=-1 if decision.ttft_s is None else decision.ttft_s,
        status=decision.status,
        duration_s=-1 if decision.duration_s is None else decision.duration_s,
        cache=decision.cache,
    )
