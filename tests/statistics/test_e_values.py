"""The evidence on counts is the one of the paper, to nine digits, and looking at it as often as one likes is safe."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

from pipelines.errors import Refused
from pipelines.statistics.e_values import (
    Alternative,
    StageEvents,
    expected_share,
    log_e_disagreement,
    log_e_rate_ratio,
    log_e_sample_ratio,
    log_e_value,
    log_e_values,
    rate_ratio_interval,
)

ALTERNATIVES: tuple[Alternative, ...] = ("greater", "less", "two-sided")


def untruncated(bad: int, total: int, limit: float, k: float) -> float:
    a, b = k * limit, k * (1 - limit)
    return float(
        special.betaln(a + bad, b + total - bad)
        - special.betaln(a, b)
        - bad * math.log(limit)
        - (total - bad) * math.log1p(-limit)
    )


def by_quadrature(bad: int, total: int, limit: float, alternative: Alternative, k: float) -> float:
    """The definition itself: the mean likelihood ratio over the prior on the alternative's side of the limit."""
    prior = stats.beta(k * limit, k * (1 - limit))

    def ratio(theta: float) -> float:
        likelihood = bad * math.log(theta / limit) + (total - bad) * math.log((1 - theta) / (1 - limit))
        return float(prior.pdf(theta)) * math.exp(likelihood)

    low, high = (limit, 1.0) if alternative == "greater" else (0.0, limit)
    edges = np.linspace(low, high, 40)
    mean = sum(integrate.quad(ratio, left, right)[0] for left, right in itertools.pairwise(edges))
    return math.log(mean / (prior.sf(limit) if alternative == "greater" else prior.cdf(limit)))


@pytest.mark.parametrize(
    ("bad", "total", "limit", "k"),
    [(206, 1000, 0.1, 10.0), (0, 400, 0.3, 10.0), (50, 50, 0.3, 2.0), (3, 7, 0.5, 100.0), (9, 900, 0.05, 30.0)],
)
def test_two_sided_evidence_is_the_closed_form_of_the_paper(bad: int, total: int, limit: float, k: float) -> None:
    evidence = log_e_value(bad, total, limit, alternative="two-sided", concentration=k)
    assert evidence == pytest.approx(untruncated(bad, total, limit, k), abs=1e-9)


def test_two_sided_evidence_is_that_of_the_reference_implementation() -> None:
    assert log_e_value(206, 1000, 0.1, alternative="two-sided") == pytest.approx(46.29264116788724, abs=1e-10)


@pytest.mark.parametrize("alternative", ["greater", "less"])
@pytest.mark.parametrize(
    ("bad", "total", "limit"),
    [(0, 1, 0.3), (1, 1, 0.3), (3, 10, 0.2), (5, 100, 0.2), (140, 600, 0.2), (60, 600, 0.2), (30, 60, 0.5)],
)
def test_one_sided_evidence_is_the_mean_likelihood_ratio_over_the_cut_prior(
    bad: int, total: int, limit: float, alternative: Alternative
) -> None:
    expected = by_quadrature(bad, total, limit, alternative, 10.0)
    assert log_e_value(bad, total, limit, alternative=alternative) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("bad", "total", "limit", "alternative", "expected"),
    [
        (50_030_000, 10**9, 0.05, "greater", 1.21642989185),
        (49_700_000, 10**9, 0.05, "greater", -12.9480521313),
        (49_700_000, 10**9, 0.05, "less", 940.2077856476),
        (310_000, 10**6, 0.3, "greater", 231.5873624995),
        (0, 10**6, 0.3, "greater", -12.4203610764),
        (290_000, 10**6, 0.3, "greater", -9.0212505521),
    ],
)
def test_evidence_stays_exact_up_to_a_billion_trials_and_far_from_the_limit(
    bad: int, total: int, limit: float, alternative: Alternative, expected: float
) -> None:
    """The expected figures come from Simpson's rule on the definition with 400,000 points, in logarithms."""
    assert log_e_value(bad, total, limit, alternative=alternative) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("limit", [1e-12, 1e-6, 0.5, 1 - 1e-6, 1 - 1e-12])
@pytest.mark.parametrize("total", [0, 1, 1000, 10**9])
def test_evidence_is_finite_at_every_edge(limit: float, total: int, alternative: Alternative) -> None:
    for bad in {0, total // 2, total}:
        assert math.isfinite(log_e_value(bad, total, limit, alternative=alternative))


def test_no_data_is_no_evidence() -> None:
    assert [log_e_value(0, 0, 0.01, alternative=each) for each in ALTERNATIVES] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize(("limit", "k"), [(0.05, 10.0), (0.3, 2.0), (0.5, 100.0)])
def test_the_mean_under_the_limit_itself_is_exactly_one(limit: float, k: float, alternative: Alternative) -> None:
    for total in (1, 2, 7, 60):
        bad = np.arange(total + 1)
        evidence = np.exp(log_e_values(bad, total, limit, alternative=alternative, concentration=k))
        assert float(evidence @ stats.binom.pmf(bad, total, limit)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("alternative", "truth"), [("greater", 0.02), ("greater", 0.19), ("less", 0.21), ("less", 0.9)]
)
def test_from_any_state_the_next_trial_adds_no_evidence_on_average_while_the_limit_is_kept(
    alternative: Alternative, truth: float
) -> None:
    for total in range(60):
        bad = np.arange(total + 1)
        now = np.exp(log_e_values(bad, total, 0.2, alternative=alternative))
        good, worse = (np.exp(log_e_values(bad + more, total + 1, 0.2, alternative=alternative)) for more in (0, 1))
        assert np.all(truth * worse + (1 - truth) * good <= now * (1 + 1e-9))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 10**6), st.floats(1e-4, 1 - 1e-4), st.data())
def test_one_more_bad_never_lessens_the_evidence_of_too_many(total: int, limit: float, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, total - 1))
    fewer, more = log_e_value(bad, total, limit), log_e_value(bad + 1, total, limit)
    assert more >= fewer - 1e-7
    fewer, more = (log_e_value(count, total, limit, alternative="less") for count in (bad, bad + 1))
    assert more <= fewer + 1e-7


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.25, 0.125]), st.data())
def test_too_many_bad_is_too_few_good(total: int, limit: float, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, total))
    mirrored = log_e_value(total - bad, total, 1 - limit, alternative="less")
    assert log_e_value(bad, total, limit) == pytest.approx(mirrored, rel=1e-12, abs=1e-12)


def test_arrays_give_what_their_elements_give() -> None:
    table = log_e_values([[0], [3], [9]], [10, 4000], [0.1, 0.001])
    assert table.shape == (3, 2)
    assert table[1, 1] == log_e_value(3, 4000, 0.001)


def test_every_impossible_argument_is_named_at_once() -> None:
    with pytest.raises(Refused) as refusal:
        log_e_value(5, 4, 0.0, alternative="smaller", concentration=0.0)  # type: ignore[arg-type]
    assert len(refusal.value.reasons) == 4


@pytest.mark.parametrize(("bad", "total", "limit"), [(-1, 4, 0.1), (1, 4, 1.0), (1, 4, math.nan), (1, math.inf, 0.1)])
def test_what_cannot_be_is_refused(bad: int, total: int, limit: float) -> None:
    with pytest.raises(Refused):
        log_e_value(bad, total, limit)


# ---- to the last digits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "k"), [(0.05, 10.0), (0.5, 10.0), (0.3, 30.0), (0.5, 40.0), (0.9, 5.0)])
def test_evidence_of_few_trials_is_the_closed_form_to_twelve_digits(limit: float, k: float) -> None:
    for total in range(1, 70, 3):
        for bad in range(0, total + 1, 2):
            evidence = log_e_value(bad, total, limit, alternative="two-sided", concentration=k)
            assert evidence == pytest.approx(untruncated(bad, total, limit, k), abs=4e-13)


def test_one_sided_evidence_is_the_mixture_over_the_mass_on_its_side() -> None:
    for total in range(1, 60, 4):
        for bad in range(0, total + 1, 3):
            a, b = 3.0, 7.0
            mixture = untruncated(bad, total, 0.3, 10.0)
            above = special.betaincc(a + bad, b + total - bad, 0.3) / special.betaincc(a, b, 0.3)
            below = special.betainc(a + bad, b + total - bad, 0.3) / special.betainc(a, b, 0.3)
            assert log_e_value(bad, total, 0.3) == pytest.approx(mixture + math.log(above), abs=1e-11)
            less = log_e_value(bad, total, 0.3, alternative="less")
            assert less == pytest.approx(mixture + math.log(below), abs=1e-11)


def lower_mass_far_out(bad: int, total: int, limit: float, k: float) -> float:
    """Evidence where the posterior mass above the limit is below 1e-200: its series about the limit, term by term."""
    a, b = k * limit + bad, k * (1 - limit) + total - bad
    term, series, count = 1.0, 1.0, 0
    while term > 1e-18 * series:
        term *= (a - 1 - count) / (b + 1 + count) * (1 - limit) / limit
        series += term
        count += 1
    prior = special.betaln(k * limit, k * (1 - limit)) - k * limit * math.log(limit)
    prior -= k * (1 - limit) * math.log1p(-limit)
    return float(
        -math.log(limit * b) + math.log(series) - prior - math.log(special.betaincc(k * limit, k * (1 - limit), limit))
    )


@pytest.mark.parametrize(
    ("bad", "total", "limit"), [(0, 1400, 0.3), (10, 2000, 0.3), (100, 3000, 0.3), (1000, 9000, 0.3), (3, 900, 0.5)]
)
def test_far_from_the_limit_evidence_is_its_series_about_the_limit(bad: int, total: int, limit: float) -> None:
    assert log_e_value(bad, total, limit) == pytest.approx(lower_mass_far_out(bad, total, limit, 10.0), rel=1e-12)


# ---- two arms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "ratio", "share"), [(0.5, 1.0, 0.5), (0.1, 1.0, 0.1), (0.5, 3.0, 0.75), (0.2, 2.0, 1 / 3)]
)
def test_an_event_is_the_candidates_by_its_weight_and_the_ratio_of_the_rates(
    weight: float, ratio: float, share: float
) -> None:
    assert expected_share(weight, ratio) == pytest.approx(share, rel=1e-15)
    assert expected_share(weight) == pytest.approx(weight, rel=1e-15)


def test_the_evidence_on_two_arms_is_the_sum_over_their_stages_at_their_shares() -> None:
    stages = [StageEvents(0.1, 15, 95), StageEvents(0.5, 40, 30)]
    for alternative in ALTERNATIVES:
        first = log_e_value(15, 110, 0.25, alternative=alternative, concentration=4.0)
        second = log_e_value(40, 70, 0.75, alternative=alternative, concentration=4.0)
        total = log_e_rate_ratio(stages, margin=3.0, alternative=alternative, concentration=4.0)
        assert total == pytest.approx(first + second)
    assert log_e_rate_ratio(stages) == pytest.approx(log_e_value(15, 110, 0.1) + log_e_value(40, 70, 0.5))


def test_the_split_is_judged_from_both_sides_with_a_prior_of_a_hundred_units() -> None:
    units = [StageEvents(0.1, 150, 950), StageEvents(0.5, 400, 300)]
    closed = untruncated(150, 1100, 0.1, 100.0) + untruncated(400, 700, 0.5, 100.0)
    assert log_e_sample_ratio(units) == pytest.approx(closed, abs=1e-9)


def test_a_disagreement_is_the_candidates_with_probability_one_half() -> None:
    assert log_e_disagreement(70, 30) == pytest.approx(log_e_value(70, 100, 0.5))
    assert log_e_disagreement(7, 30, alternative="less", concentration=3.0) == pytest.approx(
        log_e_value(7, 37, 0.5, alternative="less", concentration=3.0)
    )


def ends_by_closed_form(stages: list[StageEvents], alpha: float, k: float) -> tuple[float, float]:
    def excess(log_ratio: float) -> float:
        odds = [stage.weight * math.exp(log_ratio) for stage in stages]
        shares = [o / (o + 1 - stage.weight) for o, stage in zip(odds, stages, strict=True)]
        evidence = [untruncated(s.candidate, s.total, share, k) for s, share in zip(stages, shares, strict=True)]
        return sum(evidence) + math.log(alpha)

    middle = optimize.minimize_scalar(excess, bounds=(-9, 9), method="bounded").x
    return math.exp(optimize.brentq(excess, -12, middle)), math.exp(optimize.brentq(excess, middle, 12))


@pytest.mark.parametrize(
    ("stages", "alpha", "k"),
    [
        ([StageEvents(0.5, 60, 40)], 0.05, 10.0),
        ([StageEvents(0.05, 15, 95), StageEvents(0.25, 40, 90)], 0.05, 10.0),
        ([StageEvents(0.1, 300, 100)], 0.01, 50.0),
        ([StageEvents(0.5, 3000, 3), StageEvents(0.5, 0, 0)], 0.2, 10.0),
        ([StageEvents(0.5, 5000, 4990)], 0.05, 10.0),
    ],
)
def test_the_interval_of_a_ratio_ends_where_the_closed_form_reaches_its_bound(
    stages: list[StageEvents], alpha: float, k: float
) -> None:
    ends = rate_ratio_interval(stages, alpha=alpha, concentration=k)
    assert ends == pytest.approx(ends_by_closed_form(stages, alpha, k), rel=2e-8)


def test_stages_that_refute_every_ratio_leave_the_least_refuted_one_to_eight_digits() -> None:
    low, high = rate_ratio_interval([StageEvents(0.5, 50_000, 10_000), StageEvents(0.5, 10_000, 50_000)])
    assert (low, high) == pytest.approx((1.0, 1.0), rel=2e-8)


def test_an_interval_is_open_where_no_event_bounds_it() -> None:
    assert rate_ratio_interval([]) == (0.0, math.inf)
    assert rate_ratio_interval([StageEvents(0.5, 0, 0)]) == (0.0, math.inf)
    low, high = rate_ratio_interval([StageEvents(0.5, 0, 90)])
    assert low == 0.0
    assert 0.01 < high < 0.1
    low, high = rate_ratio_interval([StageEvents(0.5, 90, 0)])
    assert 10 < low < 100
    assert high == math.inf


# ---- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "total", "limit", "k", "reason"),
    [
        (-1, 4, 0.1, 10.0, "counts: -1 of 4; give 0 <= bad <= total"),
        (5, 4, 0.1, 10.0, "counts: 5 of 4; give 0 <= bad <= total"),
        (1, math.inf, 0.1, 10.0, "counts: 1 of inf; give 0 <= bad <= total"),
        (1, 4, 0.0, 10.0, "limit: 0 is not between 0 and 1, both excluded"),
        (1, 4, 1.0, 10.0, "limit: 1 is not between 0 and 1, both excluded"),
        (1, 4, math.nan, 10.0, "limit: nan is not between 0 and 1, both excluded"),
        (1, 4, 0.1, 0.0, "concentration: 0.0 is not a positive number"),
        (1, 4, 0.1, math.inf, "concentration: inf is not a positive number"),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(
    bad: float, total: float, limit: float, k: float, reason: str
) -> None:
    with pytest.raises(Refused) as refusal:
        log_e_value(bad, total, limit, concentration=k)  # type: ignore[arg-type]
    assert refusal.value.reasons == [reason]


def test_an_unknown_alternative_and_impossible_values_of_an_array_are_named() -> None:
    with pytest.raises(Refused) as refusal:
        log_e_values([1, 9], [4, 4], 0.1, alternative="smaller")  # type: ignore[arg-type]
    assert refusal.value.reasons == [
        "counts: 2 values from 1 of 2 values from 4; give 0 <= bad <= total",
        "alternative: 'smaller' is none of greater, less, two-sided",
    ]


@pytest.mark.parametrize("margin", [0.0, -1.0, math.inf, math.nan])
def test_a_margin_that_is_no_positive_ratio_is_refused(margin: float) -> None:
    with pytest.raises(Refused, match="is not a positive ratio of rates"):
        log_e_rate_ratio([], margin=margin)
