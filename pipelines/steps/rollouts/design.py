"""Computes before a rollout how many requests each of its stages needs, and the traffic of the last seven days."""

from __future__ import annotations

import io
import math
from datetime import datetime, timedelta

import polars as pl
from scipy import stats

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.release import LoggedTraffic, StageDesign
from pipelines.ports import Ports, Store
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import FULL_SHARE, AbTestSpec, BlueGreen, Canary
from pipelines.statistics.e_values import log_e_value
from pipelines.statistics.sample_size import sample_size
from pipelines.steps.monitoring.prediction_log import INTERNAL_ROLES

TRAFFIC_WINDOW = timedelta(days=7)
MIN_LOGGED_DURATION = timedelta(hours=1)
"""Shortest period for a rate, so that one burst is not taken for a day's traffic."""
MAX_FILES = 200
POWER = 0.8
MAX_REQUESTS = 10**9


def recent_traffic(ports: Ports, model: str) -> LoggedTraffic | None:
    """Requests that callers made in the last seven days, by the prediction log; None if there were none.

    Of more than 200 files an even sample is read and scaled up.
    """
    until = ports.clock()
    requests, since, paths = 0.0, until, _log_files(ports.store, model, until)
    read = paths[:: max(1, math.ceil(len(paths) / MAX_FILES))]
    for path in read:
        counted, earliest = _count_requests(ports.store.get(path), until - TRAFFIC_WINDOW)
        if earliest is not None:
            requests, since = requests + counted * len(paths) / len(read), min(since, earliest)
    if not requests:
        return None
    observed = max(until - since, MIN_LOGGED_DURATION)
    return LoggedTraffic(requests=requests, since=since, until=until, per_day=requests / (observed / timedelta(days=1)))


def rollout_design(spec: ModelSpec) -> list[StageDesign]:
    """Each stage of the declared rollout; empty if the release has none."""
    declared, stages = spec.deployment, []
    if (shadow := declared.shadow_plan) is not None:
        seconds = shadow.max_duration or 2 * shadow.duration
        needed = math.ceil(shadow.minimum_compared / shadow.sample_rate)
        stages.append(StageDesign(share=0, requests_to_pass=needed, seconds=seconds))
    return stages + [
        StageDesign(
            share=share,
            requests_to_pass=_requests_to_pass(declared, share / FULL_SHARE),
            requests_to_find=_requests_to_detect(declared, share / FULL_SHARE),
            seconds=_max_seconds(declared),
        )
        for share in declared.shares()
    ]


def _max_seconds(declared: Deployment) -> float:
    """Seconds that one stage may last."""
    if declared.strategy == "canary":
        return (declared.canary or Canary()).max_step_duration
    if declared.strategy == "blue_green":
        trial = declared.blue_green or BlueGreen()
        return trial.max_duration or 2 * trial.validation_duration
    return (declared.ab or AbTestSpec()).max_duration


def _requests_to_pass(declared: Deployment, weight: float) -> int | None:
    """Requests of both arms until a candidate with the expected rate is shown to keep the threshold.

    An experiment needs its declared number of users in the smaller arm, and enough to detect the expected effect.
    """
    least = declared.analysis.minimum_units
    if declared.strategy == "ab":
        least = (declared.ab or AbTestSpec()).minimum_sample_size
        needed = math.ceil(least / min(weight, 1 - weight))
        total = (
            _requests_to_detect(declared, weight) if "error_rate" in (declared.ab or AbTestSpec()).metrics else needed
        )
        return None if total is None else max(needed, total)
    shown = requests_to_show(_expected_rate(declared), declared.error_threshold, declared.analysis.alpha / 2)
    return None if shown is None else math.ceil(max(shown / weight, least / min(weight, 1 - weight)))


def _requests_to_detect(declared: Deployment, weight: float) -> int | None:
    analysis = declared.analysis
    try:
        return sample_size(
            rate=_expected_rate(declared),
            ratio=analysis.expected_ratio,
            weight=weight,
            alpha=analysis.alpha / 2,
            power=POWER,
        ).requests
    except Refused:
        return None


def _expected_rate(declared: Deployment) -> float:
    return declared.analysis.expected_rate or declared.error_threshold / 10


def requests_to_show(rate: float, limit: float, alpha: float) -> int | None:
    """Requests after which a share of ``rate`` is shown to lie below ``limit``, with a power of 80 %; None: never."""
    if rate >= limit:
        return None

    def is_shown(total: int) -> bool:
        bad = int(stats.binom.ppf(POWER, total, rate))
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


def _log_files(store: Store, model: str, until: datetime) -> list[str]:
    """Files of the last days; if they hold none (a replay), all files."""
    root = store_paths.predictions(model)
    dates = [(until - timedelta(days=n)).date() for n in range(TRAFFIC_WINDOW.days + 1)]
    paths = [path for day in dates for path in store.list(f"{root}date={day:%Y-%m-%d}/")] or store.list(root)
    return [path for path in paths if path.endswith(".parquet")]


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
