"""What the gates promise: coverage, wrong passes, the told chance to pass, slices of twins, attempts, creep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from pipelines.ledger.anchor_version import anchor_versions
from pipelines.messages.evaluation import EvaluateResult, Interval
from pipelines.rules.champion_comparison_gate import judge_candidate
from pipelines.rules.slice_gate import judge_slices
from pipelines.spec.model import ComparisonSpec, ModelSpec
from pipelines.statistics.block_jackknife import BlockError
from pipelines.steps.evaluation.metrics import Array
from pipelines.steps.evaluation.paired_gain import PairedAnswers, paired_gain
from pipelines.steps.evaluation.slices import compared_slices
from pipelines.testing.ports import FixedClock, MemoryLedger
from pipelines.verdict import Outcome
from tests.calibration.line import Line, share_line

ROWS_A_DAY = 50
RUNS = 1000
TWIN_SLICES = 15


def spec(**comparison: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "model": "late",
            "description": "late or not",
            "owner": "tests",
            "view": "flights",
            "problem": "classification",
            "target": {"expression": "delay >= 15"},
            "evaluation": {
                "minimum_metrics": {"roc_auc": {"min": 0.5}},
                "comparison": {"metric": "roc_auc", **comparison},
                "slices": {"columns": ["carrier"], "metric": "roc_auc", "max_loss": 0.0, "min_rows": 50},
            },
            "monitoring": {"performance": {"metric": "roc_auc", "max_drop": 0.1}},
        }
    )


@dataclass
class LabelledDays:
    """Labelled rows of some days, on which any number of equally good models answer.

    ``effect``: standard deviation over the days of a model's strength (0: rows are independent); ``lag``: its lag-1
    autocorrelation; ``skewed``: days of very different sizes and shares of positives. The models share a signal, as
    trainings of one recipe do.
    """

    random: np.random.Generator
    days: int
    effect: float
    lag: float = 0.0
    skewed: bool = False

    def __post_init__(self) -> None:
        sizes, positives = np.full(self.days, ROWS_A_DAY), np.full(self.days, 0.25)
        if self.skewed:
            sizes = np.clip(ROWS_A_DAY * self.random.lognormal(0, 0.7, self.days), 15, None).astype(int)
            positives = self.random.beta(2, 6, self.days).clip(0.05, 0.8)
        self.day = np.repeat(np.arange(self.days), sizes)
        self.target = (self.random.random(len(self.day)) < positives[self.day]).astype(np.float64)
        self.signal = self.random.normal(size=len(self.day))

    def answers(self) -> Array:
        strength = 1.0 + self.effect * autocorrelated(self.random, self.days, self.lag)
        noise = self.random.normal(size=len(self.day))
        scores: Array = strength[self.day] * self.target + 0.9 * self.signal + 0.4 * noise
        return scores

    def pair(self, champion: Array | None = None) -> PairedAnswers:
        """Two models, or one beside ``champion``."""
        other = self.answers() if champion is None else champion
        return PairedAnswers(self.target, self.answers(), other, self.day)


def autocorrelated(random: np.random.Generator, days: int, lag: float) -> Array:
    values = random.normal(size=days)
    for day in range(1, days):
        values[day] = lag * values[day - 1] + np.sqrt(1 - lag**2) * values[day]
    return values


def measured(pair: PairedAnswers, attempt: int = 1) -> Interval:
    interval = paired_gain("classification", spec().evaluation.comparison, pair, threshold=0.5, attempt=attempt)
    assert interval is not None
    return interval


def lines(share: float) -> Iterator[Line]:
    runs = max(40, int(RUNS * share))
    cases: list[tuple[int, str, dict[str, Any]]] = [
        (40, "40 days, independent rows", {"effect": 0.0}),
        (20, "20 days, day effects", {"effect": 0.5}),
        (40, "40 days, day effects", {"effect": 0.5}),
        (40, "40 days, day effects AR(.2)", {"effect": 0.5, "lag": 0.2}),
        (40, "40 days of skewed sizes and rates, day effects", {"effect": 0.5, "skewed": True}),
    ]
    for days, data, options in cases:
        random = np.random.default_rng([14, days, len(data)])
        intervals = [measured(LabelledDays(random, days, **options).pair()) for _ in range(runs)]
        held = sum(bool(i.low <= 0 <= i.high) for i in intervals if i.low is not None and i.high is not None)
        low = 0.88 if "lag" in options else 0.92  # days that resemble the day before count for less than one
        yield share_line("gain of a candidate: coverage of the 95 % interval", data, held, runs, low, 0.97)
        if data == "40 days, day effects":
            above = sum(bool(i.low > 0) for i in intervals if i.low is not None)
            what = "a candidate that loses exactly the margin passes"
            yield share_line(what, data, above, runs, None, 0.04)
            yield _told_power(intervals)
    yield _twin_slices(runs // 2)
    yield _attempts(runs // 2)
    yield from _creep(max(20, runs // 5))


def _told_power(intervals: list[Interval]) -> Line:
    """At a margin at which about every other candidate passes, where a wrong chance would show most."""
    errors = np.array([i.standard_error for i in intervals])
    margin = 2.2 * float(np.median(errors))
    passed = np.array([i.low is not None and i.low >= -margin for i in intervals], dtype=float)
    declared = ComparisonSpec(metric="roc_auc", margin=margin)
    told = np.array([_told(i, declared) for i in intervals])
    difference = told - passed
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    data = f"40 days, day effects ({100 * passed.mean():.0f} % passed)"
    what = "told chance that an equal candidate passes, less the share that passed"
    return Line(what, data, float(difference.mean()), error, -0.06, 0.06)


def _told(interval: Interval, declared: ComparisonSpec) -> float:
    assert interval.standard_error is not None
    error = BlockError(interval.standard_error, interval.units)
    return error.chance_to_pass(declared.allowed_loss(interval.champion), interval.confidence)


def _twin_slices(runs: int) -> Line:
    """Any loss at all is beyond the limit here, so only its chance keeps a twin from being refused."""
    random, refused = np.random.default_rng(143), 0
    declared = spec()
    assert declared.evaluation.slices is not None
    for _ in range(runs):
        pair = LabelledDays(random, 30, effect=0.5).pair()
        frame = pl.DataFrame({"carrier": random.integers(0, TWIN_SLICES, len(pair.target)).astype(str)})
        slices = compared_slices("classification", declared.evaluation.slices, frame, pair, 0.5)
        result = EvaluateResult(
            model="late", version="2", champion="1", snapshot="s", rows=1, metrics={}, slices=slices
        )
        refused += judge_slices(result, declared).outcome is Outcome.FAIL
    data = f"twins, 30 days, {TWIN_SLICES} slices, day effects"
    return share_line("slice gate: a twin is refused", data, refused, runs, None, 0.05)


def _attempts(runs: int) -> Line:
    """Ten candidates in a row on one test part, each of which loses exactly the margin: zero is moved to there."""
    random, passed = np.random.default_rng(146), 0
    for _ in range(runs):
        part = LabelledDays(random, 30, effect=0.5)
        champion = part.answers()
        lows = [measured(part.pair(champion), attempt).low for attempt in range(1, 11)]
        passed += any(low is not None and low > 0 for low in lows)
    data = "10 candidates on one test part of 30 days, day effects"
    return share_line("any of them loses exactly the margin and passes", data, passed, runs, None, 0.05)


def _creep(runs: int) -> Iterator[Line]:
    """Twenty weekly candidates, each 0.003 worse than the live version, of which the gate releases some."""
    for anchored, promise in ((True, 0.02), (False, None)):
        random = np.random.default_rng(142)
        losses = np.array([_loss_after_twenty(random, anchored=anchored) for _ in range(runs)])
        what = f"20 candidates, each 0.003 worse: loss at the end {'with' if anchored else 'without'} the anchor"
        error = float(losses.std(ddof=1) / np.sqrt(runs))
        yield Line(what, "day gains of sd 0.03 over 40 days", float(losses.mean()), error, None, promise, unit="AUC")


def _loss_after_twenty(random: np.random.Generator, *, anchored: bool) -> float:
    clock = FixedClock()
    ledger = MemoryLedger(clock)
    declared = spec() if anchored else spec(anchor=None)
    quality, live = {"0": 0.0}, "0"
    ledger.append("release", "late", "0", {}, actor="t")
    for week in range(1, 21):
        version = str(week)
        quality[version] = quality[live] - 0.003
        clock.advance(timedelta(days=7))
        anchors = anchor_versions(ledger.entries("late"), live, declared.evaluation.comparison, clock())
        anchor = anchors[0] if anchors else None
        result = EvaluateResult(
            model="late",
            version=version,
            champion=live,
            snapshot="s",
            rows=1,
            metrics={},
            comparison=_drawn(random, quality[version] - quality[live]),
            anchor=anchor,
            anchor_comparison=_drawn(random, quality[version] - quality[anchor]) if anchor else None,
        )
        verdict = judge_candidate(result, declared)
        details = {"gate": verdict.rule, "champion": live, **verdict.model_dump(mode="json")}
        ledger.append("gate", "late", version, details, actor="t")
        if verdict.passed:
            ledger.append("release", "late", version, {"previous": live}, actor="t")
            live = version
    return -quality[live]


def _drawn(random: np.random.Generator, gain: float) -> Interval:
    days = gain + 0.03 * random.normal(size=40)
    error = BlockError(float(days.std(ddof=1) / np.sqrt(40)), 40)
    width, middle = error.half_width(0.95), float(days.mean())
    ends = {"gain": middle, "low": middle - width, "high": middle + width}
    return Interval(
        metric="roc_auc", candidate=0.7, champion=0.7, confidence=0.95, rows=2400, unit="day", units=40, **ends
    )
