"""Computes before a rollout how many requests each of its stages needs, and the traffic of the last seven days."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.release import LoggedTraffic, StageDesign
from pipelines.ports import Ports, Store
from pipelines.rollout.analysis import AnalysisPlan, MetricLimits
from pipelines.rollout.from_spec import BAD_EVENT, BEYOND_P99_EVENT, analysis_plan, max_stage_seconds
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import FULL_SHARE, AbTestSpec, Shadow
from pipelines.statistics.e_values import expected_share, log_e_value, log_e_values
from pipelines.statistics.sample_size import sample_size
from pipelines.steps.monitoring.prediction_log import INTERNAL_ROLES

Counts = NDArray[np.int64]
TRAFFIC_WINDOW = timedelta(days=7)
MIN_LOGGED_DURATION = timedelta(hours=1)
"""Shortest period for a rate, so that one burst is not taken for a day's traffic."""
MAX_FILES = 200
POWER = 0.8
EXPECTED_SHARE = 0.1
"""Share of a limit that a good version is expected to have where nothing else is declared."""
BEYOND_P99_SHARE = 0.01
SIMULATED_RUNS, LOOKS, SIMULATION_SEED = 400, 24, 1
MAX_REQUESTS = 10**9


def recent_traffic(ports: Ports, model: str) -> LoggedTraffic | None:
    """Requests that callers made in the last seven days, by the prediction log; None if there were none.

    The files of the last days are read, and if callers made none of their requests (a replay has the days that it
    replays), all files. Of more than 200 an even sample is read and scaled up.
    """
    until = ports.clock()
    for paths in _log_files(ports.store, model, until):
        requests, since = 0.0, until
        read = paths[:: max(1, math.ceil(len(paths) / MAX_FILES))]
        for path in read:
            counted, earliest = _count_requests(ports.store.get(path), until - TRAFFIC_WINDOW)
            if earliest is not None:
                requests, since = requests + counted * len(paths) / len(read), min(since, earliest)
        if requests:
            per_day = requests / (max(until - since, MIN_LOGGED_DURATION) / timedelta(days=1))
            return LoggedTraffic(requests=requests, since=since, until=until, per_day=per_day)
    return None


def rollout_design(spec: ModelSpec, per_day: float | None = None) -> list[StageDesign]:
    """Each stage of the declared rollout; empty if the release has none.

    ``per_day``: requests of a day, for the chances of what is decided in a stage's time; None: not known.
    """
    declared, stages = spec.deployment, []
    if (shadow := declared.shadow_plan) is not None:
        seconds = shadow.max_duration or 2 * shadow.duration
        needed = _requests_of_shadow(declared, shadow)
        stages.append(StageDesign(share=0, requests_to_pass=needed, seconds=seconds))
    if declared.strategy == "ab":
        return stages + [_experiment_design(declared, share) for share in declared.shares()]
    shares = declared.shares()
    plan = analysis_plan(declared) if shares else None
    return stages + [_stage_design(declared, plan, share, per_day) for share in shares if plan is not None]


def _stage_design(declared: Deployment, plan: AnalysisPlan, share: int, per_day: float | None) -> StageDesign:
    weight, seconds = share / FULL_SHARE, max_stage_seconds(declared)
    expected = ExpectedEvents(_expected_rate(declared), declared.analysis.expected_ratio)
    to_find = requests_to_find(plan, expected, weight)
    held = found = None
    if per_day is not None:
        requests = int(per_day * seconds / 86400)
        held = 1 - chance_of_stage(plan, expected, weight, requests, "pass")
        found = chance_of_stage(plan, expected, weight, requests, "find") if _comparisons_of_errors(plan) else None
    return StageDesign(
        share=share,
        requests_to_pass=requests_to_pass(plan, expected, weight),
        requests_to_find=to_find,
        seconds=seconds,
        held=held,
        found=found,
    )


def _experiment_design(declared: Deployment, share: int) -> StageDesign:
    """The declared number of users in the smaller arm, and enough to find the expected effect on bad answers."""
    experiment, weight = declared.ab or AbTestSpec(), share / FULL_SHARE
    needed: int | None = math.ceil(experiment.minimum_sample_size / min(weight, 1 - weight))
    to_find = None
    if "error_rate" in experiment.metrics:
        # The interval of the ratio has a third of what is allowed to be wrong (``rate_difference``).
        alpha = (1 - experiment.confidence_level) / 3
        to_find = _sample_size(_expected_rate(declared), declared.analysis.expected_ratio, weight, 1.0, alpha, POWER)
        needed = None if to_find is None else max(needed or 0, to_find)
    return StageDesign(share=share, requests_to_pass=needed, requests_to_find=to_find, seconds=experiment.max_duration)


def _requests_of_shadow(declared: Deployment, shadow: Shadow) -> int | None:
    """Requests until the answers are compared in the declared number, and disagreement and failures shown to be few."""
    alpha = declared.analysis.alpha
    shown = [
        requests_to_show(shadow.max_disagreement * EXPECTED_SHARE, shadow.max_disagreement, alpha),
        requests_to_show(_expected_rate(declared), declared.error_threshold, alpha),
    ]
    counts = [count for count in shown if count is not None]
    most = max(shadow.minimum_compared, *counts)
    return math.ceil(most / shadow.sample_rate) if len(counts) == len(shown) else None


@dataclass(frozen=True)
class ExpectedEvents:
    """The champion's expected share of bad answers, and how many times as bad the candidate is that must be found."""

    rate: float
    harmful_ratio: float

    def rate_of(self, metric: MetricLimits) -> float:
        """The champion's share of this metric's event. Of slow answers it is a tenth of their limit."""
        if metric.event == BEYOND_P99_EVENT:
            return BEYOND_P99_SHARE
        if metric.event == BAD_EVENT or metric.max_rate is None:
            return self.rate
        return metric.max_rate * EXPECTED_SHARE


def requests_to_pass(plan: AnalysisPlan, expected: ExpectedEvents, weight: float) -> int | None:
    """Requests of both arms after which a candidate equal to its champion has passed, with a power of 80 %.

    All limits that must be shown to hold have this power together. None: no number of requests suffices.
    """
    rates = [metric for metric in plan.metrics if metric.max_rate is not None]
    ratios = [metric for metric in plan.metrics if metric.role == "guardrail" and metric.max_ratio is not None]
    power = POWER ** (1 / max(1, len(rates) + len(ratios)))
    needed: list[int | None] = [math.ceil(plan.minimum_units / min(weight, 1 - weight))]
    for metric in rates:
        shown = requests_to_show(expected.rate_of(metric), metric.max_rate or 1.0, plan.alpha, power=power)
        needed.append(None if shown is None else math.ceil(shown / weight))
    for metric in ratios:
        rate, margin = expected.rate_of(metric), metric.pass_ratio
        needed.append(_sample_size(rate, 1.0, weight, margin, plan.alpha, power))
    counts = [count for count in needed if count is not None]
    return max(counts) if len(counts) == len(needed) else None


def requests_to_find(plan: AnalysisPlan, expected: ExpectedEvents, weight: float) -> int | None:
    """Requests of both arms after which the harmful candidate is shown worse than the champion, with a power of 80 %.

    None: nothing compares bad answers, or no number of requests suffices.
    """
    alpha = plan.alpha / plan.failure_test_count / plan.stages
    counts = [
        _sample_size(expected.rate, expected.harmful_ratio, weight, metric.fail_ratio or 1.0, alpha, POWER)
        for metric in _comparisons_of_errors(plan)
    ]
    return min((count for count in counts if count is not None), default=None)


def chance_of_stage(
    plan: AnalysisPlan, expected: ExpectedEvents, weight: float, requests: int, end: Literal["pass", "find"]
) -> float:
    """Chance that one stage of so many ``requests`` passes an equal candidate, or finds the harmful one.

    Simulated from a seed with the tests of the plan at evenly spaced looks; events of different kinds are independent.
    """
    rng, every = np.random.default_rng(SIMULATION_SEED), requests // LOOKS
    shape = (SIMULATED_RUNS, LOOKS)
    candidate_units = np.cumsum(rng.binomial(every, weight, shape), axis=1)
    champion_units = every * np.arange(1, LOOKS + 1) - candidate_units
    enough = np.minimum(candidate_units, champion_units) >= plan.minimum_units
    decided = enough.copy() if end == "pass" else np.zeros(shape, dtype=bool)
    events = sorted({metric.event for metric in plan.metrics})
    for event in events:
        metrics = [metric for metric in plan.metrics if metric.event == event]
        rate = min(1.0, expected.rate_of(metrics[0]))
        ratio = expected.harmful_ratio if end == "find" else 1.0
        bad = _cumulated_events(rng, candidate_units, min(1.0, rate * ratio))
        champion_bad = _cumulated_events(rng, champion_units, rate)
        for metric in metrics:
            if end == "pass":
                decided &= _is_passed(metric, plan, bad, candidate_units, champion_bad, weight)
            elif metric in _comparisons_of_errors(plan):
                decided |= _is_found(metric, plan, bad, champion_bad, weight)
    return float(decided.any(axis=1).mean())


def _cumulated_events(rng: np.random.Generator, units: Counts, rate: float) -> Counts:
    return np.cumsum(rng.binomial(np.diff(units, axis=1, prepend=0), rate), axis=1)


def _is_passed(
    metric: MetricLimits, plan: AnalysisPlan, bad: Counts, units: Counts, champion_bad: Counts, weight: float
) -> NDArray[np.bool_]:
    passed, needed = np.ones(bad.shape, dtype=bool), -math.log(plan.alpha)
    if metric.max_rate is not None:
        below = log_e_values(bad, units, metric.max_rate, alternative="less", concentration=plan.concentration)
        passed &= below >= needed
    if metric.role == "guardrail" and metric.max_ratio is not None:
        share, total = expected_share(weight, metric.pass_ratio), bad + champion_bad
        passed &= log_e_values(bad, total, share, alternative="less", concentration=plan.concentration) >= needed
    return passed


def _is_found(
    metric: MetricLimits, plan: AnalysisPlan, bad: Counts, champion_bad: Counts, weight: float
) -> NDArray[np.bool_]:
    share = expected_share(weight, metric.fail_ratio or 1.0)
    worse = log_e_values(bad, bad + champion_bad, share, concentration=plan.concentration)
    return np.asarray(worse >= math.log(plan.failure_test_count * plan.stages / plan.alpha))


def _comparisons_of_errors(plan: AnalysisPlan) -> list[MetricLimits]:
    return [metric for metric in plan.metrics if metric.event == BAD_EVENT and metric.can_be_worse]


def _sample_size(rate: float, ratio: float, weight: float, margin: float, alpha: float, power: float) -> int | None:
    if margin > 1.0 and 1.0 < ratio <= margin:
        return None
    try:
        return sample_size(rate=rate, ratio=ratio, weight=weight, margin=margin, alpha=alpha, power=power).requests
    except Refused:
        return None


def _expected_rate(declared: Deployment) -> float:
    return declared.analysis.expected_rate or declared.error_threshold * EXPECTED_SHARE


def requests_to_show(rate: float, limit: float, alpha: float, *, power: float = POWER) -> int | None:
    """Requests after which a share of ``rate`` is shown to lie below ``limit``, with this power; None: never."""
    if rate >= limit:
        return None

    def is_shown(total: int) -> bool:
        bad = int(stats.binom.ppf(power, total, rate))
        return log_e_value(bad, total, limit, alternative="less") >= -math.log(alpha)

    high = 1
    while not is_shown(high):
        high *= 2
        if high > MAX_REQUESTS:
            return None
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_shown(middle) else (middle, high)
    return high


def _log_files(store: Store, model: str, until: datetime) -> Iterator[list[str]]:
    """The files of the last days, then all files."""
    root = store_paths.predictions(model)
    dates = [(until - timedelta(days=n)).date() for n in range(TRAFFIC_WINDOW.days + 1)]
    yield [path for day in dates for path in store.list(f"{root}date={day:%Y-%m-%d}/") if path.endswith(".parquet")]
    yield [path for path in store.list(root) if path.endswith(".parquet")]


def _count_requests(content: bytes, since: datetime) -> tuple[float, datetime | None]:
    """Requests since ``since``, weighted by their sampling, and the time of the first answer."""
    names = pl.read_parquet_schema(io.BytesIO(content))
    columns: list[str] = [name for name in ("logged_at", "row", "role", "weight") if name in names]
    frame = pl.read_parquet(io.BytesIO(content), columns=columns).filter(pl.col("logged_at") >= since)
    if "row" in columns:
        frame = frame.filter(pl.col("row") == 0)
    if "role" in columns:
        frame = frame.filter(~pl.col("role").is_in(INTERNAL_ROLES))
    if frame.is_empty():
        return 0.0, None
    earliest = frame["logged_at"].min()
    return float(frame["weight"].sum() if "weight" in columns else frame.height), earliest  # type: ignore[return-value]
