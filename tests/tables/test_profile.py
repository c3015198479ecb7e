"""A profile is exact where it says so, bounded elsewhere, and merges as if the rows had been together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from pipelines.tables.profile import (
    MAX_CATEGORIES,
    MAX_SKETCH_POINTS,
    CategoricalProfile,
    NumericProfile,
    TableProfile,
    histogram,
    merge_profiles,
    profile_frame,
)

RNG = np.random.default_rng(7)
SHAPES = {
    "normal": RNG.normal(size=20_000),
    "skewed": RNG.exponential(size=20_000) ** 3,
    "mostly_zero": np.where(RNG.random(20_000) < 0.97, 0.0, RNG.normal(size=20_000)),
    "rounded": RNG.normal(0, 100, size=20_000).round(),
    "sentinel": np.where(RNG.random(20_000) < 0.3, 999.0, RNG.normal(size=20_000)),
    "tied_inside": np.where(RNG.random(20_000) < 0.4, RNG.choice([-0.1, 0.0, 0.3], 20_000), RNG.normal(size=20_000)),
}


def numeric(values: Any) -> NumericProfile:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64, strict=False)})
    return profile_frame(frame, categorical=[], numeric=["x"]).numeric["x"]


def below(profile: NumericProfile, at: np.ndarray) -> np.ndarray:
    """Share of rows at or below each number, as the profile knows it."""
    steps = np.concatenate([[0], np.cumsum(profile.weights)])
    shares: np.ndarray = steps[np.searchsorted(profile.points, at, side="right")] / profile.count
    return shares


def test_up_to_512_distinct_values_are_kept_exactly_with_their_counts() -> None:
    values = RNG.integers(0, MAX_SKETCH_POINTS, 10_000).astype(float)
    found = numeric(values)
    distinct, counts = np.unique(values, return_counts=True)
    assert found.points == distinct.tolist()
    assert found.weights == counts.tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_compressed_column_is_exact_at_its_points_and_bounded_between(shape: str) -> None:
    values = np.sort(SHAPES[shape])
    found = numeric(values)
    assert len(found.points) == MAX_SKETCH_POINTS
    at_points = np.searchsorted(values, found.points, side="right") / len(values)
    assert below(found, np.array(found.points)) == pytest.approx(at_points, abs=0)
    everywhere = np.searchsorted(values, values, side="right") / len(values)
    assert np.abs(below(found, values) - everywhere).max() <= 1 / MAX_SKETCH_POINTS + 1e-12
    assert found.points[-1] == found.maximum == values[-1]
    strictly_below = np.searchsorted(values, found.points, side="left")
    at_or_below = np.searchsorted(values, found.points, side="right")
    assert found.ties == (at_or_below - strictly_below).tolist()
    assert (np.array(found.weights) - found.ties).max() <= len(values) / MAX_SKETCH_POINTS


@pytest.mark.parametrize("shape", SHAPES)
def test_of_a_stored_profile_that_counted_no_ties_no_more_rows_are_taken_for_tied_than_are(shape: str) -> None:
    found = numeric(SHAPES[shape])
    stored = {name: value for name, value in found.model_dump().items() if name != "ties"}
    read = NumericProfile.model_validate(stored)
    assert all(fewest <= exact for fewest, exact in zip(read.ties, found.ties, strict=True))
    assert (np.array(read.weights) - read.ties).max() <= 2 * np.ceil(found.count / MAX_SKETCH_POINTS)
    few = numeric(SHAPES[shape][:400]).model_dump(exclude={"ties"})
    assert NumericProfile.model_validate(few).ties == few["weights"]


def test_numbers_that_are_no_numbers_count_as_nulls() -> None:
    found = numeric([1.0, None, math.nan, math.inf, -math.inf, 3.0])
    assert (found.count, found.nulls, found.mean, found.std) == (2, 4, 2.0, 1.0)


def test_a_column_without_values_has_no_mean() -> None:
    found = numeric([None, None])
    assert (found.count, found.nulls, found.mean, found.minimum, found.points) == (0, 2, None, None, [])


def test_days_merged_give_the_profile_of_all_their_rows() -> None:
    rows = pl.DataFrame(
        {
            "x": RNG.integers(0, 200, 900).astype(float),
            "c": [("UA", "AA", None)[number] for number in RNG.integers(0, 3, 900)],
        }
    )
    days = [rows[:100], rows[100:100], rows[100:650], rows[650:]]
    merged = merge_profiles([profile_frame(day, categorical=["c"], numeric=["x"]) for day in days])
    whole = profile_frame(rows, categorical=["c"], numeric=["x"])
    assert merged.rows == whole.rows == 900
    assert merged.categorical == whole.categorical
    assert merged.numeric["x"].points == whole.numeric["x"].points
    assert merged.numeric["x"].weights == whole.numeric["x"].weights
    assert merged.numeric["x"].ties == whole.numeric["x"].ties
    assert merged.numeric["x"].mean == pytest.approx(whole.numeric["x"].mean)
    assert merged.numeric["x"].std == pytest.approx(whole.numeric["x"].std)


@pytest.mark.parametrize("shape", SHAPES)
def test_merged_compressed_days_stay_within_two_512ths(shape: str) -> None:
    values = SHAPES[shape]
    parts = [pl.DataFrame({"x": part}) for part in np.split(values, 8)]
    merged = merge_profiles([profile_frame(part, categorical=[], numeric=["x"]) for part in parts]).numeric["x"]
    assert (np.array(merged.weights) - merged.ties).max() <= 2 * len(values) / MAX_SKETCH_POINTS
    exact = np.searchsorted(np.sort(values), np.sort(values), side="right") / len(values)
    assert np.abs(below(merged, np.sort(values)) - exact).max() <= 2 / MAX_SKETCH_POINTS + 1e-12
    assert merged.count == len(values)
    assert len(merged.points) <= MAX_SKETCH_POINTS


def test_merging_keeps_a_column_that_only_some_days_have() -> None:
    one = profile_frame(pl.DataFrame({"a": [1.0]}), categorical=[], numeric=["a"])
    two = profile_frame(pl.DataFrame({"b": ["x"]}), categorical=["b"], numeric=[])
    merged = merge_profiles([one, two])
    assert (set(merged.numeric), set(merged.categorical), merged.rows) == ({"a"}, {"b"}, 2)


def test_the_most_frequent_categories_are_kept_and_the_rest_counted_together() -> None:
    values = ["often"] * 5 + [f"rare_{number:04d}" for number in range(MAX_CATEGORIES + 20)]
    frame = pl.DataFrame({"c": [*values, None]})
    found = profile_frame(frame, categorical=["c"], numeric=[]).categorical["c"]
    assert next(iter(found.counts.items())) == ("often", 5)
    assert (found.other, sum(found.buckets.values())) == (21, 21)
    assert (found.nulls, found.valued, len(found.counts)) == (1, len(values), MAX_CATEGORIES)
    twice = merge_profiles([profile_frame(frame, categorical=["c"], numeric=[])] * 2).categorical["c"]
    assert (twice.valued, twice.other, sum(twice.buckets.values())) == (2 * len(values), 42, 42)


def test_a_stored_profile_whose_further_categories_have_no_hashes_is_read_and_merged_as_such() -> None:
    stored = CategoricalProfile.model_validate({"nulls": 1, "counts": {"a": 5, "__other__": 7}})
    assert (stored.counts, stored.other, stored.buckets) == ({"a": 5}, 7, {})
    hashed = profile_frame(
        pl.DataFrame({"c": [f"rare_{number}" for number in range(MAX_CATEGORIES + 20)]}), categorical=["c"], numeric=[]
    )
    merged = merge_profiles([TableProfile(rows=13, categorical={"c": stored}), hashed]).categorical["c"]
    assert (merged.valued, merged.buckets) == (12 + MAX_CATEGORIES + 20, {})


def test_a_category_that_is_named_as_the_rest_was_is_a_category_like_any_other() -> None:
    profile = profile_frame(pl.DataFrame({"c": ["__other__", "__null__", None]}), categorical=["c"], numeric=[])
    read = TableProfile.model_validate_json(profile.model_dump_json()).categorical["c"]
    assert (read.counts, read.other, read.nulls) == ({"__null__": 1, "__other__": 1}, 0, 1)


def test_a_boolean_column_is_a_categorical_one() -> None:
    frame = pl.DataFrame({"late": [True, False, False, None]})
    found = profile_frame(frame, categorical=["late"], numeric=[]).categorical["late"]
    assert (found.counts, found.nulls) == ({"false": 2, "true": 1}, 1)


def test_a_histogram_counts_rows_between_any_edges() -> None:
    found = numeric([0.0, 1.0, 1.0, 2.0, 5.0, 10.0])
    assert histogram(found, [0, 1, 5, 10]) == [1, 3, 2]
    assert histogram(found, [1, 2]) == [3]


def test_the_same_rows_in_any_order_give_the_same_json_and_it_reads_back() -> None:
    rows = pl.DataFrame({"x": SHAPES["skewed"], "c": RNG.integers(0, 900, 20_000)}).with_columns(
        pl.col("c").cast(pl.String)
    )
    first = profile_frame(rows, categorical=["c"], numeric=["x"])
    second = profile_frame(rows.reverse(), categorical=["c"], numeric=["x"])
    assert second.categorical == first.categorical
    assert second.numeric["x"].points == first.numeric["x"].points
    assert TableProfile.model_validate_json(first.model_dump_json()) == first


def test_a_profile_whose_weights_do_not_add_up_is_refused() -> None:
    whole = numeric([1.0, 2.0]).model_dump()
    with pytest.raises(ValidationError, match="not 2 rows"):
        NumericProfile.model_validate(whole | {"weights": [1, 5]})
    for ties in ([1], [1, 2], [1, -1]):
        with pytest.raises(ValidationError, match="ties"):
            NumericProfile.model_validate(whole | {"ties": ties})
