"""A column that broke fails; one that moves or differs from training is told; what was not measured never passes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.messages.monitoring import ColumnFinding, DriftMeasure, DriftResult
from pipelines.rules.drift_check import judge_drift
from pipelines.rules.drift_findings import ACT_FROM
from pipelines.verdict import Outcome
from tests.declared import shipped_model

DAY = date(2013, 5, 7)
SPEC = shipped_model()


def measure(name: str, p_value: float | None = 0.5, psi: float | None = 0.01) -> DriftMeasure:
    return DriftMeasure(name=name, kind="numeric", method="ks", rows=6000, statistic=0.1, p_value=p_value, psi=psi)


def result(features: list[DriftMeasure], **changes: Any) -> DriftResult:
    fields: dict[str, Any] = {
        "model": "flight_delay",
        "day": DAY,
        "window": [DAY],
        "version": "3",
        "reference": "profiles/training/flight_delay/3.json",
        "features": features,
        "prediction": measure("prediction"),
    }
    return DriftResult(**{**fields, **changes})


def calm(count: int) -> list[DriftMeasure]:
    return [measure(f"calm_{n}") for n in range(count)]


def finding(column: str, lane: str = "fault", **changes: Any) -> ColumnFinding:
    fields = {
        "column": column,
        "lane": lane,
        "since": date(2013, 5, 6),
        "signs": ["mean 45.2 → 7.1 (-12.3 usual daily changes)"],
        "size": -12.3,
        "moved": 0.9,
        "influence": 0.05,
    }
    return ColumnFinding.model_validate({**fields, **changes})


def differs(verdict: Any) -> bool:
    assert verdict.passed
    return bool(verdict.facts["data_drift"] == "fail")


def test_a_column_that_broke_fails_with_since_when_how_and_whether_it_matters() -> None:
    verdict = judge_drift(result(calm(4), findings=[finding("temp")]), SPEC)
    assert verdict.outcome is Outcome.FAIL
    [reason] = verdict.reasons
    assert reason == (
        "temp broke: since 2013-05-06 mean 45.2 → 7.1 (-12.3 usual daily changes); "
        "0.90 of its values moved * influence 0.050 = 0.0450 >= 0.0175: act"
    )
    assert (verdict.facts["faults"], verdict.facts["act"]) == (["temp"], ["temp"])
    assert verdict.facts["data_drift"] == "pass"


@pytest.mark.parametrize(
    ("moved", "influence", "weight"),
    [
        (1.0, ACT_FROM, "= 0.0175 >= 0.0175: act"),
        (0.5, 0.03, "= 0.0150 < 0.0175: the answers hardly move"),
        (1.0, None, "how much the answers depend on it is not known"),
        (None, 0.5, "how much the answers depend on it is not known"),
    ],
)
def test_a_finding_is_weighed_by_what_moved_and_by_the_influence_of_its_column(
    moved: float | None, influence: float | None, weight: str
) -> None:
    verdict = judge_drift(result(calm(4), findings=[finding("temp", moved=moved, influence=influence)]), SPEC)
    assert verdict.reasons[0].endswith(weight)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.facts["act"] == (["temp"] if "act" in weight else [])


def test_a_column_to_watch_is_told_and_fails_nothing() -> None:
    verdict = judge_drift(result(calm(4), findings=[finding("temp", "watch")]), SPEC)
    assert verdict.passed
    assert verdict.facts["watched"] == ["temp"]
    assert verdict.findings[0].startswith("watch temp: since 2013-05-06 mean 45.2")


def test_every_column_that_broke_is_a_reason() -> None:
    found = [finding("temp"), finding("dewp"), finding("visib", "watch")]
    verdict = judge_drift(result(calm(4), findings=found), SPEC)
    assert [reason.split(" broke")[0] for reason in verdict.reasons] == ["temp", "dewp"]


@pytest.mark.parametrize(("days", "outcome"), [(27, Outcome.UNKNOWN), (28, Outcome.PASS), (None, Outcome.PASS)])
def test_too_short_a_past_is_unknown_and_only_waits_for_days(days: int | None, outcome: Outcome) -> None:
    verdict = judge_drift(result(calm(4), history_days=days), SPEC)
    assert verdict.outcome is outcome
    waits = outcome is Outcome.UNKNOWN
    assert (verdict.facts["too_little_data"], verdict.facts["waits_for_history"]) == (waits, waits)
    assert verdict.facts["data_drift"] == "pass"


@pytest.mark.parametrize(
    ("drifting", "still", "outcome"),
    [(0, 10, Outcome.PASS), (2, 8, Outcome.PASS), (3, 7, Outcome.FAIL), (10, 0, Outcome.FAIL)],
)
def test_the_data_differ_from_training_once_the_share_of_features_reaches_its_threshold_which_fails_nothing(
    drifting: int, still: int, outcome: Outcome
) -> None:
    moved = [measure(f"moved_{n}", p_value=1e-9, psi=0.9) for n in range(drifting)]
    verdict = judge_drift(result(moved + calm(still)), SPEC)
    assert verdict.passed
    assert verdict.facts["drifting"] == [m.name for m in moved]
    assert verdict.facts["data_drift"] == outcome.value


@pytest.mark.parametrize(
    ("p_value", "psi", "drifts"),
    [(1e-9, 0.25, True), (1e-9, 0.249, False), (0.0099, 0.9, True), (0.01, 0.9, False), (0.5, 0.01, False)],
)
def test_a_feature_differs_only_if_the_test_is_significant_and_the_effect_is_large(
    p_value: float, psi: float, drifts: bool
) -> None:
    assert differs(judge_drift(result([measure("temp", p_value, psi)]), SPEC)) is drifts


def test_every_differing_feature_is_listed_with_its_numbers() -> None:
    verdict = judge_drift(result([measure("temp", 1e-9, 0.91), measure("dewp", 2e-7, 0.4), *calm(1)]), SPEC)
    assert verdict.findings[:2] == (
        "version 3: 2 of 3 features differ from its training rows: share 0.667, limit 0.3",
        "temp: psi 0.910 >= 0.25, p 1e-09 < 0.01 (ks 0.1, 6000 rows)",
    )
    assert verdict.findings[2].startswith("dewp: psi 0.400")


def test_differing_predictions_are_told_by_themselves() -> None:
    verdict = judge_drift(result(calm(5), prediction=measure("prediction", 1e-12, 0.3)), SPEC)
    assert verdict.passed
    assert verdict.facts["data_drift"] == "pass"
    assert verdict.facts["prediction_drift"] == "fail"
    assert "psi of the predictions 0.300, limit 0.25 (6000 rows)" in verdict.findings


@pytest.mark.parametrize(
    ("features", "changes", "named"),
    [
        ([measure("temp", None, None), *calm(4)], {}, "temp not measured"),
        (calm(4), {"prediction": None}, "prediction drift not measured: 0 rows"),
        (calm(4), {"prediction": measure("prediction", None, None)}, "prediction drift not measured: 6000 rows"),
        ([], {"version": None}, "no version is live"),
        ([], {}, "no feature was measured"),
        (calm(4), {"missing_days": [DAY]}, "profile of 2013-05-07 is missing"),
    ],
)
def test_what_was_not_measured_is_unknown_and_named(
    features: list[DriftMeasure], changes: dict[str, Any], named: str
) -> None:
    verdict = judge_drift(result(features, **changes), SPEC)
    assert verdict.outcome is Outcome.UNKNOWN
    assert any(named in reason for reason in verdict.reasons)


def test_a_missing_earlier_day_leaves_the_verdict_to_the_days_there_are() -> None:
    assert judge_drift(result(calm(4), missing_days=[date(2013, 5, 3)]), SPEC).passed


def test_a_broken_column_beside_an_unmeasured_one_is_a_fail_that_names_both() -> None:
    features = [measure("temp"), measure("dewp", None, None)]
    verdict = judge_drift(result(features, findings=[finding("temp")]), SPEC)
    assert verdict.outcome is Outcome.FAIL
    assert any(reason.startswith("temp broke") for reason in verdict.reasons)
    assert any("dewp not measured" in reason for reason in verdict.reasons)


def test_too_few_differing_among_unmeasured_features_is_unknown() -> None:
    features = [measure("temp", 1e-9, 0.9), *[measure(f"gap_{n}", None, None) for n in range(9)]]
    verdict = judge_drift(result(features), SPEC)
    assert (verdict.outcome, verdict.facts["data_drift"]) == (Outcome.UNKNOWN, "unknown")


def test_without_a_feature_no_share_drifts_and_no_share_is_below_any_threshold() -> None:
    always = SPEC.model_copy(deep=True)
    drift = always.monitoring.drift.model_copy(update={"feature_drift_threshold": 0.0})
    always = always.model_copy(update={"monitoring": always.monitoring.model_copy(update={"drift": drift})})
    assert judge_drift(result(calm(4)), always).passed
    assert judge_drift(result([]), SPEC).facts["drifting_share"] == 0.0


def test_a_share_below_its_threshold_by_rounding_alone_counts_as_drift() -> None:
    drift = SPEC.monitoring.drift.model_copy(update={"feature_drift_threshold": 0.5 + 1e-12})
    spec = SPEC.model_copy(update={"monitoring": SPEC.monitoring.model_copy(update={"drift": drift})})
    features = [measure("temp", 1e-9, 0.9), *calm(1)]
    assert drift.feature_drift_threshold - 1e-12 == 0.5
    assert judge_drift(result(features), spec).facts["data_drift"] == "fail"


def test_the_facts_name_the_five_features_of_the_largest_psi_with_four_decimals() -> None:
    features = [measure(f"f{n}", psi=n / 100 + 0.00004) for n in range(7)] + [measure("gap", None, None)]
    facts = judge_drift(result(features), SPEC).facts
    largest: Any = facts["largest_psi"]
    assert list(largest.items()) == [("f6", 0.06), ("f5", 0.05), ("f4", 0.04), ("f3", 0.03), ("f2", 0.02)]
    assert facts["drifting_share"] == 0.0
    third = judge_drift(result([measure("temp", 1e-9, 0.9), *calm(2)]), SPEC).facts
    assert third["drifting_share"] == 0.333333
    assert judge_drift(result([measure("temp", psi=0.12345)]), SPEC).facts["largest_psi"] == {"temp": 0.1235}


@pytest.mark.parametrize(("p_value", "psi"), [(None, 0.9), (1e-9, None), (None, None)])
def test_a_column_without_both_of_its_numbers_was_not_measured(p_value: float | None, psi: float | None) -> None:
    verdict = judge_drift(result([measure("temp", p_value, psi)], prediction=measure("p", p_value, psi)), SPEC)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.facts["drifting"] == []
    assert [reason.split(":")[0] for reason in verdict.reasons] == [
        "temp not measured",
        "prediction drift not measured",
    ]


def test_a_feature_without_a_psi_ranks_below_every_other() -> None:
    features = [measure("gap", None, None), *[measure(f"f{n}", psi=0.5) for n in range(5)]]
    largest: Any = judge_drift(result(features), SPEC).facts["largest_psi"]
    assert len(largest) == 5
