from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.monitoring import DriftMeasure, DriftResult
from practices.drift_check import DriftCheck
from tests.practices.airfield import MODEL, Airfield

DAY = date(2013, 3, 7)


def drifted(psi: float | None, prediction_psi: float = 0.01) -> DriftResult:
    def measure(name: str, effect: float | None) -> DriftMeasure:
        sure = None if effect is None else (1e-9 if effect > 0.2 else 0.5)
        return DriftMeasure(name=name, kind="numeric", method="ks", rows=6000, statistic=0.1, p_value=sure, psi=effect)

    return DriftResult(
        model=MODEL,
        day=DAY,
        window=[DAY],
        version="4",
        reference="profiles/training/flight_delay/4.json",
        features=[measure("temp", psi), measure("dewp", psi)],
        prediction=measure("prediction", prediction_psi),
    )


def check(field: Airfield) -> dict[str, Any]:
    context = field.context("monitor", "check_drift", partition_key="2013-03-07")
    return DriftCheck(task_id="check_drift", model=MODEL).execute(context)


@pytest.fixture(autouse=True)
def in_the_air(field: Airfield) -> None:
    field.registry.add("4")
    field.registry.name(champion="4")
    field.ledger.append("release", MODEL, "4", {}, actor="test")
    field.store.put(f"predictions/{MODEL}/date=2013-03-06/a.parquet", b"")


def test_a_quiet_day_passes_and_is_on_record(field: Airfield) -> None:
    field.answers["measure_drift"] = drifted(0.05)
    check(field)
    [(version, details)] = field.lines("monitoring_verdict")
    assert (version, details["check"], details["outcome"]) == ("4", "drift_check", "pass")


def test_a_detection_turns_the_task_red_with_every_drifting_column(field: Airfield) -> None:
    field.answers["measure_drift"] = drifted(0.9)
    with pytest.raises(Refused, match=r"(?s)temp: psi 0\.900.*dewp: psi 0\.900"):
        check(field)
    assert field.lines("monitoring_verdict")[0][1]["facts"]["data_drift"] == "fail"


def test_a_column_that_was_not_measured_is_no_pass(field: Airfield) -> None:
    field.answers["measure_drift"] = drifted(None)
    with pytest.raises(Refused, match="temp not measured"):
        check(field)


def test_both_checks_of_a_day_skip_together(field: Airfield) -> None:
    field.store.files.clear()
    with pytest.raises(AirflowSkipException, match="answered nothing"):
        check(field)
