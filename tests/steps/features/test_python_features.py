"""A function of the owner sees exactly the events that an aggregate would, and what it may not answer is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.errors import Refused
from pipelines.spec.features import FeatureView
from pipelines.steps.features import python_features
from pipelines.steps.features.compute import compute_features
from pipelines.steps.features.source_days import days_read
from tests.declared import feature_view
from tests.steps.features.test_random_views import DAYS, RIDE_TYPES, dataset, frames

MODULE = """
import polars as pl


def highest(rows, pairs):
    best = pairs.group_by("row_id").agg(pl.col("fare").max().alias("value"))
    return rows.select("row_id").join(best, on="row_id", how="left")


def town(rows, pairs):
    return rows.select("row_id", pl.col("city").str.to_uppercase().alias("value"))


def order(rows, pairs):
    return rows.select("row_id").with_columns(value=pl.int_range(pl.len()))


def too_few(rows, pairs):
    return rows.select("row_id", value=1.0).head(rows.height - 1)


def text(rows, pairs):
    return rows.select("row_id", value=pl.lit("a"))


def wrong(rows, pairs):
    return 1 / 0


def nothing(rows, pairs):
    return None


def alone(rows):
    return rows
"""
CITY = dataset(None)
HIGHEST = {"python": "rides:highest", "by": "city", "window": "2h", "columns": ["fare"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    functions = tmp_path_factory.mktemp("python")
    (functions / "rides.py").write_text(MODULE)
    (functions / "broken.py").write_text("def shape(rows, pairs):\n    return (\n")
    return functions


def view_of(folder: Path | None, lead: str = "1h", **forms: Any) -> FeatureView:
    fields = {"schema": 2, "view": "rides", "entity": ["at", "ride"], "rows": {"per": "rides", "lead": lead}}
    return feature_view({**fields, "features": forms}, CITY, folder)


@settings(max_examples=10, deadline=None)
@given(
    tables=frames(),
    by=st.sampled_from([["city"], ["city", "car"], []]),
    window=st.sampled_from(["1h", "2h", "26h"]),
    lead=st.sampled_from(["0m", "1h"]),
    most=st.sampled_from([1, 30, 2_000_000]),
)
def test_it_sees_what_an_aggregate_sees(
    folder: Path, tables: dict[str, pl.DataFrame], by: list[str], window: str, lead: str, most: int
) -> None:
    """So it does however many rows it is asked about at a time, and a day alone gives the same."""
    shared = {"by": by, "window": window}
    view = view_of(
        folder, lead, **{f"asked_{window}": HIGHEST | shared, f"counted_{window}": {"aggregate": "max(fare)", **shared}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python_features, "MAX_PAIRS", most)
        whole = compute_features(view, tables, DAYS, CITY)
    assert whole[f"asked_{window}"].to_list() == whole[f"counted_{window}"].to_list()
    for day in DAYS:
        read = {
            source: frame.filter(pl.col("day").is_in(days_read(view, source, day, set(frame["day"]), CITY)))
            for source, frame in tables.items()
        }
        alone = compute_features(view, {name: frame.reverse() for name, frame in read.items()}, [day], CITY)
        assert_frame_equal(alone, whole.filter(day=day), check_exact=True)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("order", "rides:order answers otherwise when the same rows and events come in another order"),
        ("too_few", "return each row_id once"),
        ("text", "rides:text returned String for a feature that is stored as Float64"),
        ("wrong", "rides:wrong raised ZeroDivisionError: division by zero"),
        ("nothing", "rides:nothing returned no polars DataFrame with row_id and value"),
    ],
)
def test_an_answer_that_is_none_is_refused(folder: Path, function: str, said: str) -> None:
    rides = pl.concat([small_rides(number) for number in range(12)])
    with pytest.raises(Refused) as error:
        compute_features(
            view_of(folder, some_2h=HIGHEST | {"python": f"rides:{function}"}), {"rides": rides}, DAYS, CITY
        )
    assert said in " ".join(error.value.reasons)


def small_rides(number: int) -> pl.DataFrame:
    at = datetime(2024, 4, 25, number, tzinfo=UTC)
    row = {
        "at": at,
        "extra": 0,
        "ride": number,
        "city": "a",
        "car": 1,
        "wait": 0,
        "fare": 1.0 * number,
        "day": at.date(),
    }
    return pl.DataFrame([row], schema=RIDE_TYPES)


def test_a_text_of_a_function_is_a_category(folder: Path) -> None:
    view = view_of(folder, town_2h=HIGHEST | {"python": "rides:town", "type": "categorical"})
    rows = compute_features(view, {"rides": small_rides(3)}, DAYS, CITY)
    assert rows["town_2h"].to_list() == ["A"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"python": "rides.py"}, "python: 'rides.py' is no function; write module:function, as in baskets:shape"),
        ({"python": "gone:shape"}, "python: there is no include/python/gone.py; write it, with a function shape(rows"),
        ({"python": "rides:lowest"}, "python: rides.py has no function lowest(rows, pairs); write it"),
        ({"python": "rides:alone"}, "python: rides.py has no function alone(rows, pairs); write it"),
        ({"python": "broken:shape"}, "python: broken.py line 2: '(' was never closed"),
        ({"columns": ["price"]}, "columns: 'price' is not in rides"),
        ({"of": "trams"}, "of: 'trams' is not a source of city"),
        ({"of": "cars", "columns": ["seats"], "by": "car"}, "'cars' is a reference source"),
        ({"by": None}, "by: is missing: what an event shares with the row"),
        ({"constraints": {"freshness": "2h"}}, "constraints.freshness: tells of events and copies"),
    ],
)
def test_a_function_that_cannot_be_meant_is_refused_when_it_is_read(
    folder: Path, form: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused) as error:
        view_of(folder, some_2h=HIGHEST | form)
    assert any(f"features.some_2h.{said}" in reason or said in reason for reason in error.value.reasons), (
        error.value.reasons
    )


def test_another_text_of_the_module_is_another_meaning(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rides.py").write_text(MODULE.replace("max()", "min()"))
    before, after = (view_of(where, some_2h=HIGHEST) for where in (folder, tmp_path))
    known = {name: (1, digest) for name, digest in before.definition_digests().items()}
    assert after.definition_faults(known) == ["feature 'some_2h' changed but is still version 1; raise it to 2"]
