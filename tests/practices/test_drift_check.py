from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.messages.monitoring import ColumnFinding, DriftMeasure, DriftResult
from practices.drift_check import DriftCheck
from tests.practices.practice_harness import MODEL, PracticeHarness

pytestmark = pytest.mark.usefixtures("watched")
DAY = date(2013, 3, 7)
WINDOW = [date(2013, 3, day) for day in range(1, 8)]


def drifted(psi: float | None, prediction_psi: float = 0.01) -> DriftResult:
    def measure(name: str, effect: float | None) -> DriftMeasure:
        p_value = None if effect is None else (1e-9 if effect > 0.2 else 0.5)
        known = {"kind": "numeric", "method": "ks", "rows": 6000, "statistic": 0.1}
        return DriftMeasure.model_validate({**known, "name": name, "p_value": p_value, "psi": effect})

    return DriftResult(
        model=MODEL,
        day=DAY,
        window=WINDOW,
        version="4",
        reference="profiles/training/flight_delay/4.json",
        features=[measure("temp", psi), measure("dewp", psi)],
        prediction=measure("prediction", prediction_psi),
    )


def broken(*columns: str) -> DriftResult:
    """A quiet window in which these columns left their own past."""
    findings = [
        ColumnFinding(column=name, lane="fault", since=date(2013, 3, 6), signs=["mean 40 → 4"], moved=1, influence=0.1)
        for name in columns
    ]
    return drifted(0.05).model_copy(update={"findings": findings})


def thin(rows: int) -> DriftResult:
    """A window in which each column has too few rows to be measured."""
    result = drifted(None)
    measures = [measure.model_copy(update={"rows": rows}) for measure in result.features]
    return result.model_copy(update={"features": measures, "prediction": measures[0]})


def check(harness: PracticeHarness, result: DriftResult) -> dict[str, Any]:
    harness.answers["measure_drift"] = result
    context = harness.context("monitor", "check_drift", partition_key=f"{DAY}")
    return DriftCheck(task_id="check_drift", model=MODEL).execute(context)


def test_a_quiet_day_passes_and_is_on_record(harness: PracticeHarness) -> None:
    check(harness, drifted(0.05))
    [(version, details)] = harness.lines("monitoring_verdict")
    assert (version, details["check"], details["outcome"]) == ("4", "drift_check", "pass")


def test_a_detection_turns_the_task_red_with_every_column_that_broke(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match=r"(?s)temp broke: since 2013-03-06 mean 40 → 4.*dewp broke"):
        check(harness, broken("temp", "dewp"))
    assert harness.lines("monitoring_verdict")[0][1]["facts"]["faults"] == ["temp", "dewp"]


def test_a_window_that_differs_from_training_is_on_record_and_turns_nothing_red(harness: PracticeHarness) -> None:
    check(harness, drifted(0.9))
    [(_, details)] = harness.lines("monitoring_verdict")
    assert (details["outcome"], details["facts"]["data_drift"]) == ("pass", "fail")


def test_a_column_that_was_not_measured_is_no_pass(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="temp not measured"):
        check(harness, drifted(None))
