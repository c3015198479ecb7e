"""KS, chi-squared and PSI from sketches agree with the same measures on the rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipelines.steps.drift.chi_squared import chi_squared_test, pooled_counts
from pipelines.steps.drift.compare import compare
from pipelines.steps.drift.ks import ks_test
from pipelines.steps.drift.psi import psi, psi_numeric
from pipelines.steps.drift.sketch import QuantileSketch
from pipelines.tables.profile import (
    MAX_SKETCH_POINTS,
    CategoricalProfile,
    NumericProfile,
    TableProfile,
    merge_profiles,
    profile_frame,
)


def profile(values: NDArray[np.float64]) -> NumericProfile:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})
    return profile_frame(frame, categorical=[], numeric=["x"]).numeric["x"]


def sketch(values: NDArray[np.float64], nulls: int = 0) -> QuantileSketch:
    return QuantileSketch.of(profile(values).model_copy(update={"nulls": nulls}))


def of_version_1(values: NDArray[np.float64]) -> QuantileSketch:
    """The sketch of a profile that was stored before ties were counted."""
    return QuantileSketch.of(NumericProfile.model_validate(profile(values).model_dump(exclude={"ties"})))


GAP = 1 / MAX_SKETCH_POINTS
"""Rows that lie between two kept points at most, as a share."""


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(50, 6000),
    other_size=st.integers(50, 6000),
    atoms=st.lists(st.floats(-4, 4), max_size=6),
    atom_share=st.floats(0, 1),
    other_share=st.floats(0, 1),
    shape=st.sampled_from(["normal", "tail", "few", "whole"]),
    moved=st.sampled_from([0.0, 0.01, 0.5]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_ks_of_any_two_columns_is_that_of_the_rows_but_for_one_gap_of_each_side(
    seed: int,
    size: int,
    other_size: int,
    atoms: list[float],
    atom_share: float,
    other_share: float,
    shape: str,
    moved: float,
) -> None:
    rng = np.random.default_rng(seed)
    draw: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "normal": lambda n: rng.normal(0, 1, n),
        "tail": lambda n: rng.pareto(1.1, n),
        "few": lambda n: rng.integers(0, 5, n) / 3,
        "whole": lambda n: rng.normal(0, 300, n).round(),
    }
    sides = []
    for rows, share, shift in ((size, atom_share, 0.0), (other_size, other_share, moved)):
        values = draw[shape](rows) + shift
        if atoms:
            values = np.where(rng.random(rows) < share, rng.choice(atoms, rows), values)
        sides.append(values)
    exact = stats.ks_2samp(*sides, method="asymp").statistic
    statistic, _ = ks_test(*(sketch(values) for values in sides))
    compressed = sum(len(np.unique(values)) > MAX_SKETCH_POINTS for values in sides)
    assert exact - compressed * GAP - 1e-12 <= statistic <= exact + 1e-12
    older, _ = ks_test(*(of_version_1(values) for values in sides))
    assert older <= exact + 1e-12


@pytest.mark.parametrize("read", [sketch, of_version_1])
@pytest.mark.parametrize(("share", "was", "becomes"), [(0.3, 999.0, 9999.0), (0.2, 0.95, 0.99), (0.3, -1.0, -2.0)])
def test_a_tied_value_that_moves_is_seen_also_in_profiles_that_counted_no_ties(
    read: Callable[[NDArray[np.float64]], QuantileSketch], share: float, was: float, becomes: float
) -> None:
    rng = np.random.default_rng(9)
    reference, current = rng.uniform(0, 0.9, 20_000), rng.uniform(0, 0.9, 6_000)
    tied, moved = rng.random(20_000) < share, rng.random(6_000) < share
    reference, current = np.where(tied, was, reference), np.where(moved, becomes, current)
    exact = stats.ks_2samp(reference, current).statistic
    statistic, p_value = ks_test(read(reference), read(current))
    assert statistic == pytest.approx(exact, abs=10 * GAP)
    assert (statistic > share - 0.05, p_value < 1e-20) == (True, True)
    assert psi_numeric(read(reference), read(current)) > 0.5


def test_ks_of_merged_days_stays_within_two_gaps_of_each_merged_side() -> None:
    rng = np.random.default_rng(10)
    reference = np.where(rng.random(30_000) < 0.25, 999.0, rng.normal(0, 1, 30_000))
    current = np.where(rng.random(8_000) < 0.25, 9999.0, rng.normal(0.1, 1, 8_000))
    merged = []
    for values in (reference, current):
        days = [pl.DataFrame({"x": day}) for day in np.split(values, 8)]
        profiles = [profile_frame(day, categorical=[], numeric=["x"]) for day in days]
        merged.append(QuantileSketch.of(merge_profiles(profiles).numeric["x"]))
    exact = stats.ks_2samp(reference, current).statistic
    assert exact - 4 * GAP <= ks_test(*merged)[0] <= exact + 2 * GAP


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.2, 1.0])
def test_ks_of_few_distinct_values_is_the_test_on_the_rows(shift: float) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 3000).round(1), rng.normal(shift, 1, 2000).round(1)
    statistic, p_value = ks_test(sketch(a), sketch(b))
    expected = stats.ks_2samp(a, b, method="asymp")
    assert statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert p_value == pytest.approx(expected.pvalue, rel=0.1, abs=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.2, 1.0])
def test_ks_of_a_compressed_column_is_a_lower_bound_short_by_one_gap_of_each_side_at_most(shift: float) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 30_000), rng.normal(shift, 1, 20_000)
    statistic, p_value = ks_test(sketch(a), sketch(b))
    expected = stats.ks_2samp(a, b, method="asymp")
    assert expected.statistic - 2 * GAP <= statistic <= expected.statistic + 1e-12
    assert p_value >= expected.pvalue * 0.9


def test_ks_bound_holds_where_a_value_is_tied_in_a_compressed_column() -> None:
    rng = np.random.default_rng(3)
    a = np.concatenate([rng.exponential(1, 20_000), np.zeros(10_000)])
    b = np.concatenate([rng.exponential(1, 10_000), np.zeros(5_000)])
    statistic, p_value = ks_test(sketch(a), sketch(b))
    assert statistic <= stats.ks_2samp(a, b).statistic
    assert p_value > 0.05


def test_the_same_distribution_twice_has_no_distance() -> None:
    same = sketch(np.arange(100.0), nulls=7)
    assert ks_test(same, same) == (0.0, 1.0)


def test_nulls_are_a_value_so_a_sensor_that_falls_silent_is_seen() -> None:
    values = np.random.default_rng(4).normal(0, 1, 1000)
    statistic, p_value = ks_test(sketch(values), sketch(values[:500], nulls=500))
    assert statistic == pytest.approx(0.5, abs=0.01)
    assert p_value < 1e-50
    assert psi_numeric(sketch(values), sketch(values[:500], nulls=500)) > 1


def test_a_column_that_is_null_on_both_sides_is_the_same() -> None:
    empty = np.empty(0)
    assert ks_test(sketch(empty, nulls=5000), sketch(empty, nulls=800)) == (0.0, 1.0)
    assert psi_numeric(sketch(empty, nulls=5000), sketch(empty, nulls=800)) < 0.01


def test_an_empty_side_is_refused_and_not_called_equal() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        ks_test(sketch(np.arange(9.0)), sketch(np.empty(0)))
    with pytest.raises(ValueError, match="at least one row"):
        chi_squared_test(np.array([1.0, 2.0]), np.array([0.0, 0.0]))


def test_psi_is_the_sum_over_bins_by_hand() -> None:
    reference, current = np.array([5000.0, 5000.0]), np.array([8000.0, 2000.0])
    by_hand = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert psi(reference, current) == pytest.approx(by_hand, rel=1e-3)


def test_psi_stays_finite_where_a_bin_is_empty() -> None:
    assert 5 < psi(np.array([1000.0, 0.0]), np.array([0.0, 1000.0])) < 20


def test_psi_of_a_normal_column_shifted_by_one_deviation_is_about_one() -> None:
    """For equal variances the divergence of both directions is ``shift**2``; binning loses a little."""
    rng = np.random.default_rng(5)
    measured = psi_numeric(sketch(rng.normal(0, 1, 50_000)), sketch(rng.normal(1, 1, 50_000)))
    assert 0.85 < measured < 1.0


def test_psi_of_a_mostly_constant_column_uses_the_bins_there_are() -> None:
    rng = np.random.default_rng(6)
    dry, wet = np.zeros(5000), np.where(rng.random(5000) < 0.4, rng.exponential(1, 5000), 0.0)
    assert psi_numeric(sketch(dry), sketch(dry)) == pytest.approx(0)
    mostly_dry = np.where(rng.random(5000) < 0.05, 1.0, 0.0)
    assert psi_numeric(sketch(mostly_dry), sketch(wet)) > 0.5


@pytest.mark.parametrize("moved", [-1.0, 1.0])
@pytest.mark.parametrize("others", [0, 600])
def test_psi_sees_a_constant_column_move_up_or_down(moved: float, others: int) -> None:
    """``others`` distinct values above the constant make the sketch a compressed one."""
    reference = np.concatenate([np.zeros(20_000), np.linspace(0.1, 0.2, others)])
    current = np.where(np.arange(5000) < 3000, moved, 0.0)
    assert psi_numeric(sketch(reference), sketch(current)) > 1
    assert psi_numeric(sketch(reference), sketch(reference[::4])) < 0.01


def test_chi_squared_is_that_of_the_contingency_table() -> None:
    reference, current = np.array([300.0, 500.0, 200.0]), np.array([90.0, 140.0, 90.0])
    expected = stats.chi2_contingency(np.vstack([reference, current]), correction=False)
    assert chi_squared_test(reference, current) == pytest.approx((expected.statistic, expected.pvalue))


def test_one_category_alone_cannot_differ() -> None:
    assert chi_squared_test(np.array([50.0]), np.array([10.0])) == (0.0, 1.0)


def counted(counts: dict[str, int], **more: int) -> CategoricalProfile:
    return CategoricalProfile.model_validate({"nulls": 0, "counts": counts, **more})


def test_rare_values_are_pooled_and_rows_are_kept() -> None:
    names, ours, theirs = pooled_counts(counted({"UA": 900, "HA": 6, "OO": 3}), counted({"UA": 300, "HA": 2, "ZZ": 1}))
    assert names == ["UA", "(rare)"]
    assert ours.tolist() == [900, 9]
    assert theirs.tolist() == [300, 3]


def test_a_new_value_of_many_rows_is_a_category_of_its_own() -> None:
    names, ours, theirs = pooled_counts(counted({"UA": 900}), counted({"UA": 300, "XX": 100}))
    assert names == ["UA", "XX"]
    assert ours.tolist() == [900, 0]
    assert theirs.tolist() == [300, 100]


def test_a_value_whose_count_one_side_folded_away_is_folded_on_both() -> None:
    names, ours, theirs = pooled_counts(counted({"A": 800}, other=200), counted({"A": 700, "B": 300}))
    assert names == ["A", "(rare)"]
    assert ours.tolist() == [800, 200]
    assert theirs.tolist() == [700, 300]


def test_null_is_a_category() -> None:
    names, ours, theirs = pooled_counts(counted({"A": 100}), counted({"A": 60}, nulls=40))
    assert names == ["A", "(none)"]
    assert theirs.tolist() == [60, 40]
    assert chi_squared_test(ours, theirs)[1] < 1e-6


def test_nulls_and_a_category_that_reads_like_them_are_two_things() -> None:
    missing, literal = counted({}, nulls=1000), counted({"__null__": 1000})
    _, ours, theirs = pooled_counts(missing, literal)
    assert (ours.tolist(), theirs.tolist()) == ([0, 1000], [1000, 0])
    assert chi_squared_test(ours, theirs)[1] < 1e-100


def rare_categories(prefix: str, seed: int, rows: int = 60_000, categories: int = 3_000) -> TableProfile:
    """Rows drawn from many rare categories, of which only 500 are kept by name."""
    drawn = np.random.default_rng(seed).integers(0, categories, rows)
    return profile_frame(pl.DataFrame({"c": [f"{prefix}{number}" for number in drawn]}), categorical=["c"], numeric=[])


def test_a_rename_of_many_rare_categories_is_seen() -> None:
    measure = compare("c", rare_categories("N", 1), rare_categories("", 2), 500)
    assert measure.p_value == pytest.approx(0, abs=1e-100)
    assert measure.psi is not None
    assert measure.psi > 0.25


def test_many_rare_categories_that_stay_differ_no_more_often_than_chance() -> None:
    measures = [
        compare("c", rare_categories("N", 2 * k), rare_categories("N", 2 * k + 1, 9_000), 500) for k in range(40)
    ]
    assert sum((m.p_value or 0) < 0.05 for m in measures) <= 6
    assert max(m.psi or 0 for m in measures) < 0.1
