"""A promotion is finished once its version has been live for ``rollback.window`` seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.verdict import Decision, Verdict

RULE = "retirement"


class RetirementDecision(Decision[Literal["wait", "conclude"]]):
    """``left``: seconds until the former version may be retired."""

    left: float


def judge_retirement(
    ticket: RolloutTicket, state: RolloutState, *, promoted: datetime | None, now: datetime, window: float
) -> RetirementDecision:
    """PASS once the version has been live for ``window`` seconds; FAIL if it was rolled back or replaced meanwhile.

    UNKNOWN during the window, with the seconds still to wait (``left``, 0 if there is nothing to wait for), and if the
    time of the promotion is not known.
    """
    failures, unknowns = [], []
    lasted = (now - promoted).total_seconds() if promoted else 0.0
    left = 0.0
    if state.phase == "ROLLED_BACK":
        failures.append(f"version {ticket.version} was rolled back: {state.reason or 'no reason was given'}")
    elif state.champion != ticket.version:
        failures.append(f"version {state.champion} is live, not {ticket.version}")
    elif state.phase not in ("FINALISING", "SUCCEEDED"):
        failures.append(f"the rollout is {state.phase}; promote it before you retire the former version")
    elif promoted is None:
        unknowns.append(f"the ledger has no release of version {ticket.version} by this rollout")
    elif lasted < window and state.phase == "FINALISING":
        left = window - lasted
        unknowns.append(f"live for {lasted:.0f} s of {window:g} s")
    facts: dict[str, object] = {"left": left, "window": window, "phase": state.phase, "previous": state.previous}
    verdict = Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)
    return RetirementDecision(verdict=verdict, action="wait" if left else "conclude", left=left)
