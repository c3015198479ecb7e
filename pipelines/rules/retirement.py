"""A promoted version is rolled back if it is shown to break a limit within ``rollback.window``, and final after it."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

from pipelines.messages.rollout import RolloutState, RolloutTicket, WatchedShare, WatchEvidence
from pipelines.verdict import Decision, Verdict

RULE = "retirement"


class RetirementDecision(Decision[Literal["wait", "conclude", "roll_back"]]):
    """``left``: seconds until the former version may be retired."""

    left: float


def judge_retirement(
    ticket: RolloutTicket,
    state: RolloutState,
    *,
    promoted: datetime | None,
    now: datetime,
    window: float,
    evidence: WatchEvidence | None = None,
    alpha: float = 0.025,
) -> RetirementDecision:
    """PASS once the version has been live for ``window`` seconds; FAIL if it was rolled back or replaced meanwhile.

    FAIL and ``roll_back`` if the ``evidence`` shows that it breaks a limit; ``alpha`` is the chance of a false alarm.
    UNKNOWN during the window, with the seconds still to wait (``left``, 0 if there is nothing to wait for), and if the
    time of the promotion is not known.
    """
    failures, unknowns = [], []
    lasted = (now - promoted).total_seconds() if promoted else 0.0
    left, broken = 0.0, _broken_limits(ticket, evidence, alpha) if state.phase == "FINALISING" else []
    if state.phase == "ROLLED_BACK":
        failures.append(f"version {ticket.version} was rolled back: {state.reason or 'no reason was given'}")
    elif state.champion != ticket.version:
        failures.append(f"version {state.champion} is live, not {ticket.version}")
        broken = []
    elif state.phase not in ("FINALISING", "SUCCEEDED"):
        failures.append(f"the rollout is {state.phase}; promote it before you retire the former version")
    elif broken:
        failures += broken
    elif promoted is None:
        unknowns.append(f"the ledger has no release of version {ticket.version} by this rollout")
    elif lasted < window and state.phase == "FINALISING":
        left = window - lasted
        unknowns.append(f"live for {lasted:.0f} s of {window:g} s")
    facts: dict[str, object] = {"left": left, "window": window, "phase": state.phase, "previous": state.previous}
    facts |= {} if evidence is None else _counts(evidence)
    findings = [] if evidence is None else [_watched_text(ticket, evidence)]
    verdict = Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)
    action: Literal["wait", "conclude", "roll_back"] = "roll_back" if broken else "wait" if left else "conclude"
    return RetirementDecision(verdict=verdict, action=action, left=left)


def _broken_limits(ticket: RolloutTicket, evidence: WatchEvidence | None, alpha: float) -> list[str]:
    shares = evidence.shares if evidence is not None else []
    needed = math.log(max(1, len(shares)) / alpha)
    return [
        f"promoted version {ticket.version}: {share.bad} of {evidence.requests} {_event_text(share)}, the limit is"
        f" {share.limit.max_share:g} (log evidence {share.above_log_e:.1f}, {needed:.1f} needed)"
        for share in shares
        if evidence is not None and share.above_log_e >= needed
    ]


def _event_text(share: WatchedShare) -> str:
    return "failed" if share.limit.over_ms is None else f"slower than {share.limit.over_ms:g} ms"


def _counts(evidence: WatchEvidence) -> dict[str, object]:
    return {"requests": evidence.requests, "bad": {_event_text(share): share.bad for share in evidence.shares}}


def _watched_text(ticket: RolloutTicket, evidence: WatchEvidence) -> str:
    if not evidence.requests:
        return f"nobody has asked for {ticket.model} since the promotion, so nothing speaks against it"
    counted = ", ".join(f"{share.bad} {_event_text(share)}" for share in evidence.shares)
    return f"{evidence.requests} requests since the promotion: {counted}"
