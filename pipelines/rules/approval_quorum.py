"""A release needs approvals of its digests by the declared number of named people, none of whom is an author."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipelines.messages.approval import ApprovalAnswer
from pipelines.messages.rollout import RolloutTicket
from pipelines.spec.deployment import Approval, Approver
from pipelines.verdict import Verdict

RULE = "approval_quorum"


def judge_quorum(
    ticket: RolloutTicket,
    declared: Approval,
    answers: Sequence[ApprovalAnswer],
    *,
    authors: Collection[str],
    faults: Sequence[str] = (),
) -> Verdict:
    """PASS if every role has approvals by its count of different people, and all roles together ``people_needed``.

    FAIL: an answer is a rejection, late, missing, about another candidate, by an author or unnamed person, or given
    twice for one role. UNKNOWN: there are ``faults``, which are answers that differ from the ledger.
    """
    roles = {approver.role: approver for approver in declared.approvers}
    reasons: list[str] = []
    agreed: dict[str, set[str]] = {role: set() for role in roles}
    for answer in answers:
        rejections = _rejection_reasons(answer, ticket, roles.get(answer.role), authors)
        if not rejections and answer.person in agreed[answer.role]:
            rejections = [f"{answer.person} answered for {answer.role} more than once and counts once"]
        reasons += rejections
        if not rejections and answer.person:
            agreed[answer.role].add(answer.person)
    for role, approver in roles.items():
        if len(agreed[role]) < approver.count:
            reasons.append(f"{role}: {len(agreed[role])} of {approver.count} agreed")
    people = sorted(set().union(*agreed.values()))
    if len(people) < declared.people_needed:
        reasons.append(f"{len(people)} different people approved; {declared.people_needed} are needed")
    facts: dict[str, object] = {
        "people": people,
        "agreed": {role: sorted(names) for role, names in agreed.items()},
        "needed": declared.people_needed,
        "answers": len(answers),
        "authors": sorted(authors),
    }
    findings = [f"approved by {', '.join(people) or 'nobody'}; {declared.people_needed} different people are needed"]
    if faults:
        return Verdict.of(RULE, unknowns=[*faults, *reasons], findings=findings, facts=facts)
    return Verdict.of(RULE, failures=reasons, findings=findings, facts=facts)


def missing_approvers(
    declared: Approval, authors: Collection[str], unable: Mapping[str, str] | None = None
) -> list[str]:
    """Why a quorum is impossible: without the authors, and those who cannot answer, too few people are left.

    ``unable`` says of each such person why.
    """
    excluded = {*authors, *(unable or {})}
    left = {approver.role: sorted(set(approver.users) - excluded) for approver in declared.approvers}
    reasons = [
        f"{approver.role} needs {approver.count} and has {', '.join(left[approver.role]) or 'nobody'}"
        for approver in declared.approvers
        if len(left[approver.role]) < approver.count
    ]
    if not reasons and (most := declared.most_people(excluded)) < declared.people_needed:
        reasons.append(f"{declared.people_needed} different people must approve, but only {most} may")
    if not reasons:
        return []
    named = {user for approver in declared.approvers for user in approver.users}
    left_out = ", ".join(sorted(set(authors) & named))
    who = f"without {left_out}, who trained or started it" if left_out else "with the people named"
    cannot = [f"{user} {why}" for user, why in sorted((unable or {}).items()) if user in named]
    return [*reasons, *cannot, f"{who}; name more people under deployment.approval.approvers"]


def _rejection_reasons(
    answer: ApprovalAnswer, ticket: RolloutTicket, approver: Approver | None, authors: Collection[str]
) -> list[str]:
    """Every reason for which an answer is not counted."""
    if answer.choice == "expired":
        return [f"nobody answered for {answer.role} until {answer.until:%Y-%m-%d %H:%M} UTC"]
    who = answer.person or "an unnamed person"
    subject = f"{who} for {answer.role}"
    reasons = []
    if answer.choice == "reject":
        reasons.append(f"{who} rejected for {answer.role}" + (f": {answer.comment}" if answer.comment else ""))
    if approver is None:
        reasons.append(f"{subject}: no such role is declared")
    elif answer.person not in approver.users:
        reasons.append(f"{subject}: only {', '.join(approver.users)} may answer")
    if {answer.person, answer.name} & set(authors):
        reasons.append(f"{subject}: a person who trained or started it may not approve it")
    if answer.at > answer.until:
        reasons.append(f"{subject}: answered at {answer.at:%Y-%m-%d %H:%M}, after {answer.until:%Y-%m-%d %H:%M} UTC")
    for what, shown, expected in (
        ("model", answer.model_digest, ticket.model_digest),
        ("bundle", answer.sha256, ticket.sha256),
        ("rollout", answer.rollout_id, ticket.rollout_id),
    ):
        if shown != expected:
            reasons.append(f"{subject}: the answer is about {what} {shown[:16]}, not {expected[:16]}")
    return reasons
