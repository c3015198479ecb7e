from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused, Unavailable
from pipelines.messages.features import (
    BuiltPartition,
    FeatureFacts,
    FeaturesRequest,
    FeaturesResult,
    PublishFeaturesRequest,
    PublishFeaturesResult,
)
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import FIRST_DATE
from practices._operators.defaults import asset
from practices.point_in_time_features import PointInTimeFeatures
from tests.declared import feature_view
from tests.practices.landing import DAY
from tests.practices.practice_harness import PracticeHarness
from tests.steps.panel.shop import catalog as shop_catalog

VIEW = "flight_delay"


def partition(harness: PracticeHarness, day: date = DAY, **nulls: int) -> BuiltPartition:
    view = harness.catalog.view(VIEW)
    limits = {name: feature.constraints for name, feature in view.features.items()}
    facts = [
        FeatureFacts(name=name, rows=900, nulls=nulls.get(name, 0), minimum=limit.minimum or 0.0, maximum=limit.maximum)
        for name, limit in limits.items()
    ]
    return BuiltPartition(
        day=day,
        rows=900,
        features=facts,
        digest=f"digest of {day}",
        staged=f"staged_features/{VIEW}/{day}/d.parquet",
        inputs={"validated/flights.flights": 4},
        definition_digests=view.definition_digests(),
    )


def answer(harness: PracticeHarness, *built: BuiltPartition, **published: Any) -> PublishFeaturesResult:
    """The steps build these partitions, and publish all of them or what is named."""
    table, days = f"features/{VIEW}", [each.day for each in built]
    harness.answers["build_features"] = FeaturesResult(view=VIEW, table=table, partitions=list(built))
    named = {"changed": days, "appeared": days[:1], **published}
    result = PublishFeaturesResult(view=VIEW, table=table, version=4, **named)
    harness.answers["publish_features"] = result
    return result


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


def test_features_within_their_constraints_are_published_and_handed_on(harness: PracticeHarness) -> None:
    audited(harness, "fail", "pass")
    built = partition(harness)
    published = answer(harness, built)
    result, handed_on = build(harness)
    assert harness.asked == [FeaturesRequest(view=VIEW, day=DAY), PublishFeaturesRequest(view=VIEW, partitions=[built])]
    assert PublishFeaturesResult.model_validate(result) == published
    assert handed_on == {"2013-01-05"}
    *_, (_, details) = harness.lines("data_verdict")
    assert (details["table_version"], details["rows_digest"]) == (4, built.digest)


def test_a_broken_constraint_is_not_published_and_is_on_the_ledger(harness: PracticeHarness) -> None:
    audited(harness, "pass")
    answer(harness, partition(harness, carrier=900, origin=1))
    with pytest.raises(Refused, match="carrier") as error:
        build(harness)
    assert len(error.value.reasons) == 2
    assert harness.asked[-1].refused == {DAY: list(error.value.reasons)}  # type: ignore[attr-defined]
    _, (_, details) = harness.lines("data_verdict")
    assert (details["check"], details["day"], details["outcome"]) == ("point_in_time_features", f"{DAY}", "fail")


def test_a_later_day_is_judged_again_and_its_refusal_is_an_incident_of_its_own(harness: PracticeHarness) -> None:
    audited(harness, "pass")
    later, last = DAY + timedelta(1), DAY + timedelta(2)
    built = [partition(harness), partition(harness, later, carrier=9), partition(harness, last)]
    answer(harness, *built, changed=[DAY, later])
    _, handed_on = build(harness)
    assert handed_on == {f"{DAY}"}
    assert list(harness.asked[-1].refused) == [later]  # type: ignore[attr-defined]
    _, *lines = [details for _, details in harness.lines("data_verdict")]
    assert [(line["day"], line["outcome"]) for line in lines] == [(f"{later}", "fail"), (f"{DAY}", "pass")]
    assert lines[0]["rebuilt_for"] == f"{DAY}"


def test_a_day_that_was_refused_before_is_handed_on_when_it_is_published(harness: PracticeHarness) -> None:
    audited(harness, "pass")
    later = DAY + timedelta(1)
    answer(harness, partition(harness), partition(harness, later), appeared=[DAY, later])
    assert build(harness)[1] == {f"{DAY}", f"{later}"}


def test_days_whose_inputs_were_replaced_meanwhile_are_built_again_and_judged_by_the_last_build(
    harness: PracticeHarness,
) -> None:
    audited(harness, "pass")
    first = answer(harness, partition(harness, carrier=900), outdated=[DAY])
    last = first.model_copy(update={"outdated": []})

    def build_again(request: Any) -> FeaturesResult:
        nulls = 0 if request.attempt else 900
        built = partition(harness, carrier=nulls)
        return FeaturesResult(view=VIEW, table=f"features/{VIEW}", partitions=[built])

    harness.answers["build_features"] = build_again
    harness.answers["publish_features"] = lambda request: first if request.refused else last
    build(harness)
    assert harness.asked[2] == FeaturesRequest(view=VIEW, day=DAY, days=[DAY], attempt=1)
    assert [details["outcome"] for _, details in harness.lines("data_verdict")] == ["pass", "pass"]


def test_inputs_that_never_come_to_rest_are_reported_as_try_again_later(harness: PracticeHarness) -> None:
    audited(harness, "pass")
    answer(harness, partition(harness), outdated=[DAY])
    with pytest.raises(Unavailable, match="kept changing"):
        build(harness)


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


SATURDAY, SUNDAY, MONDAY = date(2024, 1, 6), date(2024, 1, 7), date(2024, 1, 8)
WEEKLY = "customer_week"


def build_week(harness: PracticeHarness, tmp_path: Path, day: date, *built: date, **published: Any) -> set[str]:
    """Validate a day of a shop whose view has a row per customer and week; the steps build these weeks."""
    known = shop_catalog(tmp_path)
    harness.catalog.datasets.update(known.datasets)
    harness.catalog.views.update(known.views)
    view = known.view(WEEKLY)
    features = [FeatureFacts(name=name, rows=40, nulls=0) for name in view.features]
    partitions = [
        BuiltPartition(
            day=week,
            rows=40,
            features=features,
            digest=f"digest of {week}",
            staged=f"staged_features/{WEEKLY}/{week}/d.parquet",
            inputs={"validated/shop.purchases": 4},
            definition_digests=view.definition_digests(),
        )
        for week in built
    ]
    table = f"features/{WEEKLY}"
    harness.answers["build_features"] = FeaturesResult(view=WEEKLY, table=table, partitions=partitions)
    named = {"changed": list(built), "appeared": [], **published}
    harness.answers["publish_features"] = PublishFeaturesResult(view=WEEKLY, table=table, version=4, **named)
    details = {"check": "quarantine", "day": f"{day}", "outcome": "pass", "reasons": []}
    harness.ledger.append("data_verdict", "shop", None, details, actor="test")
    context = harness.context("validate", "build_features", partition_key=f"{day}")
    PointInTimeFeatures(task_id="build_features", view=WEEKLY).execute(context)
    return context["outlet_events"][asset(WEEKLY, "features")].partition_keys


def test_a_week_is_handed_on_under_its_monday_by_the_day_that_completes_it(
    harness: PracticeHarness, tmp_path: Path
) -> None:
    assert build_week(harness, tmp_path, SUNDAY, MONDAY, appeared=[MONDAY]) == {f"{MONDAY}"}
    *_, (_, details) = harness.lines("data_verdict")
    assert (details["day"], details["outcome"]) == (f"{MONDAY}", "pass")


def test_a_day_with_which_no_week_is_due_is_skipped(harness: PracticeHarness, tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="no rows of customer_week are due with 2024-01-06"):
        build_week(harness, tmp_path, SATURDAY)
    assert [type(request) for request in harness.asked] == [FeaturesRequest]


def test_a_late_day_builds_weeks_again_and_hands_none_on(harness: PracticeHarness, tmp_path: Path) -> None:
    assert build_week(harness, tmp_path, SATURDAY, MONDAY) == set()
    *_, (_, details) = harness.lines("data_verdict")
    assert (details["day"], details["rebuilt_for"]) == (f"{MONDAY}", f"{SATURDAY}")


def test_the_rows_of_a_table_are_built_and_handed_on_under_the_name_of_its_only_partition(
    harness: PracticeHarness,
) -> None:
    fields = {"files": "{source}/{partition}/loans.csv", "key": "row", "columns": {"amount": "number"}}
    partition_of_all = {"every": "once"}
    bank = DatasetSpec.model_validate(
        {"schema": 2, "dataset": "bank", "partition": partition_of_all, "sources": {"loans": fields}}
    )
    view = feature_view({"schema": 2, "view": "loan", "rows": {"table": "loans"}, "features": {"*": "own"}}, bank)
    harness.catalog.datasets["bank"], harness.catalog.views["loan"] = bank, view
    built = partition(harness, FIRST_DATE).model_copy(
        update={
            "features": [FeatureFacts(name="amount", rows=900, nulls=0)],
            "definition_digests": view.definition_digests(),
        }
    )
    answer(harness, built)
    context = harness.context("validate", "build_features", partition_key="all")
    task = PointInTimeFeatures(task_id="build_features", view="loan")
    with pytest.raises(Refused, match="bank of all was not published"):
        task.execute(context)
    details = {"check": "quarantine", "partition": "all", "outcome": "pass", "reasons": []}
    harness.ledger.append("data_verdict", "bank", None, details, actor="test")
    task.execute(context)
    assert harness.asked[0] == FeaturesRequest(view="loan", day=FIRST_DATE)
    assert context["outlet_events"][asset("loan", "features")].partition_keys == {"all"}
    *_, (_, line) = harness.lines("data_verdict")
    assert (line["check"], line["partition"], line["outcome"]) == ("point_in_time_features", "all", "pass")
