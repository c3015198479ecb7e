"""The evidence on counts is the one of the paper, to nine digits, and looking at it as often as one likes is safe."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from pipelines.errors import Refused
from pipelines.statistics.e_values import Alternative, log_e_value, log_e_values

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
