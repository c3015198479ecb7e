"""An A/B test whose metrics could decide nothing is refused when the file is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from pipelines.spec.experiment import better_direction, outcome_column


def read(folder: Path, ab: dict[str, Any]) -> Catalog:
    """The shipped declarations, with an A/B test of flight_delay."""
    include = Path(shutil.copytree(REPOSITORY / "include", folder / "include"))
    path = include / "models" / "flight_delay.yaml"
    told = yaml.safe_load(path.read_text())
    told["deployment"] = {"strategy": "ab", "ab": ab, "routing": {"key": "header:x-user-id"}}
    path.write_text(yaml.safe_dump(told))
    return Catalog.read(include)


@pytest.mark.parametrize(
    ("metrics", "fault"),
    [
        (["revenue"], "metrics: 'revenue' is neither an outcome column"),
        (["accuracy", "-carrier"], "metrics: '-carrier' is string; an outcome must be a number"),
        (["prediction"], "prediction comes first, but has no better direction"),
        (["accuracy", "brier", "brier"], "brier is named twice"),
    ],
)
def test_metrics_that_decide_nothing_are_refused_with_their_place(
    tmp_path: Path, metrics: list[str], fault: str
) -> None:
    refusal = read(tmp_path, {"metrics": metrics}).refused["models/flight_delay.yaml"]
    assert [reason for reason in refusal.reasons if fault in reason]
    assert refusal.reasons[0].startswith("deployment.ab.metrics: ")


def test_metrics_of_the_product_and_numbers_of_the_outcomes_are_taken(tmp_path: Path) -> None:
    found = read(tmp_path, {"metrics": ["-arr_delay", "accuracy", "latency", "prediction"], "margin": 0.01})
    assert found.models["flight_delay"].deployment.ab is not None


def test_an_outcome_is_better_if_it_is_more_and_with_a_minus_if_it_is_less() -> None:
    assert [(better_direction(name), outcome_column(name)) for name in ("arr_delay", "-arr_delay", "brier")] == [
        ("higher", "arr_delay"),
        ("lower", "arr_delay"),
        ("lower", None),
    ]
