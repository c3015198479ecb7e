"""What `airworthy status` says of one model: its versions and their states, the next rollback, verdicts by version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipelines.messages.incident import Incident
from pipelines.messages.rollout import RolloutState
from pipelines.observability.model_worth import read_worth
from pipelines.ports import LedgerEntry, VersionInfo
from pipelines.rules.live_state import judge_live_state
from pipelines.rules.release_rollback import plan_rollback
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome
from pipelines.versions.standing import STATUS_TAG, Standing


def version_facts(standing: Standing, registered: Sequence[VersionInfo]) -> list[dict[str, Any]]:
    """The registered versions, newest first. A version that ledger and target know nothing of has its tag's status."""
    facts = []
    for info in registered:
        known, recorded = standing.observed_versions.get(info.version), standing.is_recorded(info.version)
        state = known.model_dump(mode="json", include={"since", "by", "reason"}) if known and recorded else {}
        facts.append(
            {
                "version": info.version,
                "semantic": info.semantic,
                "status": known.state.value if known else info.tags.get(STATUS_TAG),
                **{name: state.get(name) for name in ("since", "by", "reason")},
                "aliases": sorted(info.aliases),
                "metrics": info.metrics,
            }
        )
    return facts


def incident_facts(model: str, incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    """Those of the model that are not over, oldest first."""
    shown = {"number", "kind", "subject", "severity", "status", "what", "opened", "count", "acknowledged_by"}
    return [
        incident.model_dump(mode="json", include=shown)
        for incident in incidents
        if incident.model == model and incident.is_active
    ]


def worth_facts(
    model: str, spec: ModelSpec | None, lines: Sequence[LedgerEntry], incidents: Sequence[Incident], now: datetime
) -> dict[str, Any]:
    """How often it is renewed and fails, what its answers bring and what it costs. ``lines``: its own."""
    own = [incident for incident in incidents if incident.model == model]
    return read_worth(lines, own, spec.worth if spec else None, now).model_dump(mode="json")


def rollout_facts(state: RolloutState, lines: Sequence[LedgerEntry]) -> dict[str, Any] | None:
    """The newest rollout, running or ended, and its ``version`` (which an ended one's state does not name)."""
    if state.rollout_id is None:
        return None
    own = (line.version for line in lines if line.kind == "rollout" and _rollout_id(line) == state.rollout_id)
    return state.model_dump(mode="json", exclude={"probe"}) | {"version": state.candidate or next(own, None)}


def next_rollback(state: RolloutState, standing: Standing) -> dict[str, Any] | None:
    """What a rollback would do now, and when the version that answers next was itself taken back from callers."""
    planned = plan_rollback(state)
    if planned is None:
        return None
    known = standing.observed_versions.get(planned.to)
    return {
        "taken_back": planned.takes,
        "answers_next": planned.to,
        "earlier_rollbacks": [back.model_dump(mode="json") for back in (known.rollbacks if known else ())],
    }


def monitoring_facts(lines: Sequence[LedgerEntry], live: str | None) -> dict[str, Any]:
    """The last verdict of each check on the live version (``monitoring``), and on every other version (``history``).

    A verdict names its version, the days of its window and when it was measured. Of several on one day the last counts.
    ``days``: on how many days the check has judged its version, without those that it could not measure.
    ``state``: what to do about the live version, with the reasons; None without one.
    """
    checks = [line for line in lines if line.kind == "monitoring_verdict"]
    per_day = {(line.version, str(line.details.get("check")), str(line.details.get("day"))): line for line in checks}
    newest: dict[tuple[str | None, str], dict[str, Any]] = {}
    judged: dict[str, tuple[str, Mapping[str, Any]]] = {}
    broken: set[tuple[str, str]] = set()
    drifted, days = Counter[str](), Counter[tuple[str | None, str]]()
    for (version, check, day), line in sorted(per_day.items(), key=lambda item: item[0][2]):
        days[version, check] += line.details.get("outcome") != Outcome.UNKNOWN.value
        newest[version, check] = {**_verdict_facts(line), "days": days[version, check]}
        if version == live:
            facts_of_check = line.details.get("facts") or {}
            judged[check] = (str(line.details.get("outcome")), facts_of_check)
            broken.update((day, column) for column in facts_of_check.get("faults", []))
            drifted.update(_drifting_columns(facts_of_check))
    state = judge_live_state(judged)
    return {
        "state": {"name": state.name, "reasons": state.reasons} if live else None,
        "monitoring": {check: facts for (version, check), facts in newest.items() if live and version == live},
        "history": [facts for (version, _), facts in newest.items() if not live or version != live],
        "broken": dict(Counter(column for _, column in sorted(broken)).most_common()),
        "drifted": dict(drifted.most_common()),
    }


def _verdict_facts(line: LedgerEntry) -> dict[str, Any]:
    details = line.details
    return {
        "check": details.get("check"),
        "version": line.version,
        "day": str(details.get("day")),
        "window": details.get("window") or [],
        "at": line.at.isoformat(),
        "outcome": details.get("outcome"),
        "reasons": details.get("reasons", []),
    }


def _drifting_columns(facts: Mapping[str, Any]) -> list[str]:
    predictions = ["(predictions)"] if facts.get("prediction_drift") == "fail" else []
    return [*facts.get("drifting", []), *predictions]


def _rollout_id(line: LedgerEntry) -> str | None:
    return line.details.get("rollout_id")
