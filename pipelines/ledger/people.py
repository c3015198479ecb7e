"""Names the people who approved or rejected a version, from the answers and counts on the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.ledger.hash_chain import utc_minute
from pipelines.ports import LedgerEntry


def answer_texts(lines: Sequence[LedgerEntry]) -> list[str]:
    """``ada approved as ml_lead on 2013-03-02 10:11 UTC: "watch Berlin" (line 12)``, one per answer, oldest first."""
    return [f"{answer_text(line)} (line {line.number})" for line in lines if line.kind == "approval_answer"]


def approver_names(lines: Sequence[LedgerEntry]) -> list[str]:
    """``ada (ml_lead)`` for each approval, oldest first."""
    approvals = [line for line in lines if line.kind == "approval_answer" and line.details.get("choice") == "approve"]
    return list(dict.fromkeys(f"{_person(line)} ({line.details.get('role')})" for line in approvals))


def _person(line: LedgerEntry) -> str:
    return str(line.details.get("person") or line.details.get("name") or "an unnamed person")


def answer_text(line: LedgerEntry) -> str:
    """One answer, without its line."""
    details = line.details
    role, choice = details.get("role"), details.get("choice")
    if choice == "expired":
        return f"nobody answered as {role} in time"
    name = details.get("name")
    who = _person(line) + (f" ({name})" if name and name != _person(line) else "")
    verb = {"approve": "approved", "reject": "rejected it"}.get(str(choice), f"answered {choice!r}")
    comment = " ".join(str(details.get("comment") or "").split())
    quoted = f': "{comment}"' if comment else ""
    return f"{who} {verb} as {role} on {utc_minute(details.get('at') or line.at)}{quoted}"


def quorum_faults(lines: Sequence[LedgerEntry]) -> list[str]:
    """Releases for which people were asked and did not approve, or whose count names people who did not answer so."""
    faults: list[str] = []
    for release in (line for line in lines if line.kind == "release"):
        rollout = release.details.get("rollout_id")
        own = [line for line in lines if rollout and line.details.get("rollout_id") == rollout]
        earlier = [line for line in own if line.number < release.number]
        counts = [line for line in earlier if line.kind == "approval_quorum"]
        if not counts:
            if any(line.kind == "approval_request" for line in earlier):
                faults.append(f"line {release.number} released it before the answers were counted")
            continue
        count = counts[-1]
        if count.details.get("outcome") != "pass":
            faults.append(
                f"line {release.number} released it although line {count.number} says {count.details.get('outcome')!r}"
            )
        approved = {
            line.details.get("person")
            for line in earlier
            if line.kind == "approval_answer"
            and line.details.get("choice") == "approve"
            and _names_the_same(line, release)
        }
        missing = [str(person) for person in count.details.get("people") or [] if person not in approved]
        if missing:
            faults.append(
                f"line {count.number} counts {', '.join(missing)}, of whom the ledger has no approval of this bundle"
            )
    return faults


def _names_the_same(answer: LedgerEntry, release: LedgerEntry) -> bool:
    return all(answer.details.get(name) == release.details.get(name) for name in ("model_digest", "sha256"))
