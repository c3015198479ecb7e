from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.messages.features import FeatureFacts, FeaturesRequest, FeaturesResult
from practices._operators.defaults import asset
from practices.point_in_time_features import PointInTimeFeatures
from tests.practices.landing import DAY
from tests.practices.practice_harness import PracticeHarness

VIEW = "flight_delay"


def built(harness: PracticeHarness, **nulls: int) -> FeaturesResult:
    view = harness.catalog.view(VIEW)
    limits = {name: feature.constraints for name, feature in view.features.items()}
    facts = [
        FeatureFacts(name=name, rows=900, nulls=nulls.get(name, 0), minimum=limit.minimum or 0.0, maximum=limit.maximum)
        for name, limit in limits.items()
    ]
    return FeaturesResult(
        view=VIEW,
        day=DAY,
        days=[DAY],
        rows=900,
        table=f"features/{VIEW}",
        version=4,
        features=facts,
        profile="profiles/x.json",
        definition_digests=view.definition_digests(),
    )


def audited(harness: PracticeHarness, *outcomes: str, day: date = DAY) -> None:
    """Audits of a day, oldest first."""
    for outcome in outcomes:
        reasons = [] if outcome == "pass" else ["flights: 60 of 1000 rows quarantined"]
        details = {"check": "quarantine", "day": f"{day}", "outcome": outcome, "reasons": reasons}
        harness.ledger.append("data_verdict", "flights", None, details, actor="test")


def build(harness: PracticeHarness) -> tuple[dict[str, Any], set[str]]:
    context = harness.context("validate", "build_features", partition_key=f"{DAY}")
    result = PointInTimeFeatures(task_id="build_features", view=VIEW).execute(context)
    return result, context["outlet_events"][asset(VIEW, "features")].partition_keys


def test_features_within_their_constraints_are_handed_on(harness: PracticeHarness) -> None:
    audited(harness, "fail", "pass")
    harness.answers["build_features"] = built(harness)
    result, handed_on = build(harness)
    assert harness.asked == [FeaturesRequest(view=VIEW, day=DAY)]
    assert FeaturesResult.model_validate(result) == built(harness)
    assert handed_on == {"2013-01-05"}


def test_a_broken_constraint_refuses_the_day_and_is_on_the_ledger(harness: PracticeHarness) -> None:
    audited(harness, "pass")
    harness.answers["build_features"] = built(harness, carrier=900, origin=1)
    with pytest.raises(Refused, match="carrier") as error:
        build(harness)
    assert len(error.value.reasons) == 2
    _, (_, details) = harness.lines("data_verdict")
    assert (details["check"], details["day"], details["outcome"]) == ("point_in_time_features", f"{DAY}", "fail")


@pytest.mark.parametrize("outcomes", [("fail",), ("pass", "fail"), ("pass", "unknown"), ()])
def test_a_day_whose_audit_was_marked_as_success_by_hand_is_not_built(
    harness: PracticeHarness, outcomes: tuple[str, ...]
) -> None:
    audited(harness, *outcomes)
    audited(harness, "pass", day=date(2013, 1, 6))
    with pytest.raises(Refused, match="marking it as success publishes nothing") as refused:
        build(harness)
    assert harness.asked == []
    assert f"{DAY}" in refused.value.subject
    assert len(harness.lines("data_verdict")) == len(outcomes) + 1
