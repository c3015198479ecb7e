"""Whatever happened to the versions of a model: status, metrics and incidents say the same of the one that is live."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cli.model_status import monitoring_facts
from pipelines.ledger.line_findings import findings
from pipelines.ledger.version_state import live_version, read_versions
from pipelines.observability.ledger_metrics import ledger_metrics
from pipelines.ports import LedgerEntry
from pipelines.testing.ports import MemoryLedger

MODEL = "flight_delay"
NOW = datetime(2013, 6, 1, tzinfo=UTC)
ABOUT_THE_LIVE_VERSION = {
    "airworthy_monitoring_outcome",
    "airworthy_performance",
    "airworthy_performance_loss_share",
    "airworthy_drift_columns",
    "airworthy_live_state",
}
FACTS: dict[str, dict[str, Any]] = {
    "performance_check": {"metric": "roc_auc", "value": 0.6, "reference": 0.75, "drop": 0.15},
    "drift_check": {"faults": ["hour"], "drifting": ["hour"], "act": ["hour"]},
    "estimated_performance": {"metric": "roc_auc", "state": "watch"},
}
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("release"), st.sampled_from("123")),
        st.tuples(st.just("rollback"), st.just("")),
        st.tuples(st.sampled_from(sorted(FACTS)), st.sampled_from(["pass", "fail", "unknown"])),
    ),
    max_size=12,
)


def recorded(happenings: list[tuple[str, str]]) -> tuple[list[LedgerEntry], str | None]:
    """What these would leave on the ledger, and the version that callers meet at last."""
    ledger = MemoryLedger()
    live, previous = None, None
    for number, (what, which) in enumerate(happenings):
        if what == "release" and which != live:
            live, previous = which, live
            ledger.append("release", MODEL, live, {"previous": previous}, actor="a")
        elif what == "rollback" and previous is not None:
            details = {"from": live, "to": previous, "reason": "slow", "traffic": 10_000}
            ledger.append("rollback", MODEL, live, details, actor="a")
            live, previous = previous, None
        elif what in FACTS and live is not None:
            facts = {} if which == "unknown" else FACTS[what]
            reasons = {"reasons": ["it is so"], "facts": facts}
            details = {"check": what, "day": f"2013-05-{number + 1:02}", "outcome": which, **reasons}
            ledger.append("monitoring_verdict", MODEL, live, details, actor="a")
    return ledger.entries(MODEL), live


def shown_metrics(lines: list[LedgerEntry]) -> list[tuple[str, dict[str, str]]]:
    return [(sample.name, sample.labels) for metric in ledger_metrics(lines, NOW) for sample in metric.samples]


def open_subjects(lines: list[LedgerEntry]) -> dict[str, set[str | None]]:
    """Kind to the subjects of the incidents that are open once these lines were read."""
    opened: defaultdict[str, set[str | None]] = defaultdict(set)
    for finding in (each for line in lines for each in findings(line)):
        if finding.firing:
            opened[finding.kind].add(finding.subject)
        else:
            opened[finding.kind] &= {*finding.except_for} if finding.subject is None else opened[finding.kind]
            opened[finding.kind].discard(finding.subject)
    return opened


@settings(deadline=None, max_examples=150)
@given(HAPPENINGS)
def test_no_screen_says_of_the_live_version_what_was_measured_of_another(happenings: list[tuple[str, str]]) -> None:
    lines, live = recorded(happenings)
    assert live_version(read_versions(lines)) == live

    status, metrics = monitoring_facts(lines, live), shown_metrics(lines)
    assert {labels["version"] for name, labels in metrics if name in ABOUT_THE_LIVE_VERSION} <= {live}
    outcomes = {
        labels["check"]: labels["outcome"] for name, labels in metrics if name == "airworthy_monitoring_outcome"
    }
    assert outcomes == {check: facts["outcome"] for check, facts in status["monitoring"].items()}
    states = [labels["state"] for name, labels in metrics if name == "airworthy_live_state"]
    assert states == ([status["state"]["name"]] if states else [])
    assert bool(states) == bool(live and any(line.kind == "monitoring_verdict" for line in lines))

    subjects = open_subjects(lines)
    assert subjects["performance"] | subjects["estimated_performance"] <= {live}
