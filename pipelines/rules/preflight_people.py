"""Items of the preflight checklist about people: who may deploy, and whether enough of them may approve."""

from __future__ import annotations

from pipelines.messages.release import ReleaseFacts
from pipelines.rules.approval_quorum import missing_approvers
from pipelines.rules.preflight_items import ItemFacts
from pipelines.spec.model import ModelSpec


def deployer(standing: ReleaseFacts, spec: ModelSpec) -> ItemFacts:
    item, may = ItemFacts("who may deploy"), spec.deployment.approval.deployers
    if not standing.by_hand:
        item.notes.append("triggered by an approval, not manually")
    elif not may:
        item.notes.append(f"{standing.deployer or 'an unnamed person'}; deployment.approval.deployers is empty")
    elif standing.deployer in may:
        item.notes.append(f"{standing.deployer} is among deployment.approval.deployers")
    else:
        who = standing.deployer or "an unnamed person"
        item.failed.append(f"{who} is not among deployment.approval.deployers ({', '.join(may)})")
    return item


def approvers(standing: ReleaseFacts, spec: ModelSpec) -> ItemFacts:
    """Whether enough people may approve, before anything is tested."""
    item, declared = ItemFacts("who may approve"), spec.deployment.approval
    if not declared.requires_approval:
        item.waived.append("deployment.approval asks nobody")
        return item
    item.failed += missing_approvers(declared, standing.authors, standing.unable)
    named = [user for approver in declared.approvers for user in approver.users]
    if not item.failed:
        item.warned += [f"{user} {why}" for user, why in sorted(standing.unable.items()) if user in named]
    excluded = {*standing.authors, *standing.unable}
    for approver in declared.approvers:
        may = ", ".join(user for user in approver.users if user not in excluded) or "nobody"
        item.notes.append(f"{approver.role}: {may} ({approver.count} needed)")
    if authors := sorted(set(standing.authors) & set(named)):
        item.notes.append(f"not {', '.join(authors)}, who trained or started it")
    if not standing.users_known:
        item.notes.append("this task cannot read whether they are users of Airflow")
    return item
