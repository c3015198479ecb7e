from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.messages.monitoring import DriftMeasure, DriftResult
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


def test_a_detection_turns_the_task_red_with_every_drifting_column(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match=r"(?s)temp: psi 0\.900.*dewp: psi 0\.900"):
        check(harness, drifted(0.9))
    assert harness.lines("monitoring_verdict")[0][1]["facts"]["data_drift"] == "fail"


def test_a_column_that_was_not_measured_is_no_pass(harness: PracticeHarness) -> None:
    with pytest.raises(Refused, match="temp not measured"):
        check(harness, drifted(None))
