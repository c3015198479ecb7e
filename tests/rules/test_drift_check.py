"""The drift rule asks for significance and size, lists what drifts, and never passes what was not measured."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.messages.monitoring import DriftMeasure, DriftResult
from pipelines.rules.drift_check import judge_drift
from pipelines.spec.catalog import read_declaration
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome

DAY = date(2013, 5, 7)
SPEC = read_declaration(Path(__file__).parents[2] / "include" / "models" / "flight_delay.yaml", ModelSpec)


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


@pytest.mark.parametrize(
    ("drifting", "still", "outcome"),
    [(0, 10, Outcome.PASS), (2, 8, Outcome.PASS), (3, 7, Outcome.FAIL), (10, 0, Outcome.FAIL)],
)
def test_data_drift_once_the_share_of_drifting_features_reaches_its_threshold(
    drifting: int, still: int, outcome: Outcome
) -> None:
    moved = [measure(f"moved_{n}", p_value=1e-9, psi=0.9) for n in range(drifting)]
    verdict = judge_drift(result(moved + calm(still)), SPEC)
    assert verdict.outcome is outcome
    assert verdict.facts["drifting"] == [m.name for m in moved]
    assert verdict.facts["data_drift"] == outcome.value


@pytest.mark.parametrize(
    ("p_value", "psi", "drifts"),
    [(1e-9, 0.25, True), (1e-9, 0.249, False), (0.0099, 0.9, True), (0.01, 0.9, False), (0.5, 0.01, False)],
)
def test_a_feature_drifts_only_if_the_test_is_significant_and_the_effect_is_large(
    p_value: float, psi: float, drifts: bool
) -> None:
    verdict = judge_drift(result([measure("temp", p_value, psi)]), SPEC)
    assert (verdict.outcome is Outcome.FAIL) is drifts


def test_every_drifting_feature_is_listed_with_its_numbers() -> None:
    verdict = judge_drift(result([measure("temp", 1e-9, 0.91), measure("dewp", 2e-7, 0.4), *calm(1)]), SPEC)
    assert verdict.reasons[0] == "drifting share 0.667 >= 0.3 (2 of 3 features)"
    assert verdict.reasons[1] == "temp: psi 0.910 >= 0.25, p 1e-09 < 0.01 (ks 0.1, 6000 rows)"
    assert verdict.reasons[2].startswith("dewp: psi 0.400")


def test_drifting_predictions_fail_by_themselves() -> None:
    verdict = judge_drift(result(calm(5), prediction=measure("prediction", 1e-12, 0.3)), SPEC)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.facts["data_drift"] == "pass"
    assert verdict.facts["prediction_drift"] == "fail"
    assert "prediction: psi 0.300 >= 0.25" in verdict.reasons[0]


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


def test_drift_found_beside_an_unmeasured_column_is_a_fail_that_names_both() -> None:
    features = [measure("temp", 1e-9, 0.9), measure("dewp", None, None)]
    verdict = judge_drift(result(features), SPEC)
    assert verdict.outcome is Outcome.FAIL
    assert any("temp: psi" in reason for reason in verdict.reasons)
    assert any("dewp not measured" in reason for reason in verdict.reasons)


def test_too_few_drifting_among_unmeasured_features_is_unknown_and_not_a_fail() -> None:
    features = [measure("temp", 1e-9, 0.9), *[measure(f"gap_{n}", None, None) for n in range(9)]]
    assert judge_drift(result(features), SPEC).outcome is Outcome.UNKNOWN


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
