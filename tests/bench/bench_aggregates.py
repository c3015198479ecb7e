"""What 99 exact aggregates of late events cost, beside polars' rolling that knows no lateness, and polars made exact.

``python -m tests.bench.bench_aggregates --full`` draws 3.4 million events of 100,000 entities (one of a hundred known
up to 20 days late); without ``--full`` it draws a tenth of both. Each way runs in a process of its own, so that peak
memory is its own. A ratio is of seconds of CPU, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl

from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, TIME, aggregate

WINDOWS = [timedelta(days=days) for days in (7, 30, 90)]
COLUMNS = ["pieces", "grams", "price", "weight"]
FUNCTIONS = ["count", "sum", "mean", "std", "min", "max", "last", "count_distinct"]
MAX_RATIO_OF_ROLLING, MAX_RATIO_OF_EXACT = 4.0, 1.0


def events(count: int) -> pl.DataFrame:
    """Events of two years by entity and time, each with four values and a flag."""
    chance = np.random.default_rng(7)
    late = np.where(chance.random(count) < 0.01, chance.integers(1, 20 * 86_400, count), 0)
    at = 1_700_000_000 + chance.integers(0, 730 * 86_400, count)
    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {
            "entity": chance.integers(0, max(count // 34, 1), count),
            EVENT: pl.Series(at * 1_000_000).cast(moment),
            KNOWN: pl.Series((at + late) * 1_000_000).cast(moment),
            "pieces": chance.integers(0, 20, count),
            "grams": chance.integers(0, 100_000, count),
            "price": np.round(chance.lognormal(3, 1, count), 2),
            "weight": chance.normal(0, 1, count),
            "big": chance.random(count) < 0.2,
        }
    ).sort("entity", EVENT)


def product(frame: pl.DataFrame) -> pl.DataFrame:
    """Each event asks, as of its own time, about what was known of its entity."""
    items = [Aggregation(f"share_{window.days}", "share", None, window, "big") for window in WINDOWS]
    items += [
        Aggregation(f"{function}_{column}_{window.days}", function, column, window)  # type: ignore[arg-type]
        for window in WINDOWS
        for column in COLUMNS
        for function in FUNCTIONS
    ]
    return aggregate(frame.select("entity", pl.col(EVENT).alias(TIME)), frame, ["entity"], items)


def rolling(frame: pl.DataFrame) -> pl.DataFrame:
    """The same by ``rolling`` of polars, as if every event had been known at once."""
    parts = [
        frame.rolling(EVENT, group_by="entity", period=window).agg(_expressions(window, lambda column: column))
        for window in WINDOWS
    ]
    return pl.concat([part.drop("entity", EVENT) for part in parts], how="horizontal")


def exact(frame: pl.DataFrame) -> pl.DataFrame:
    """The same as the product by polars: questions and events by known time, each window without what is too old."""
    asked = frame.select("entity", pl.col(EVENT).alias("at"), pl.lit(1).alias("order"))
    told = frame.with_columns(pl.max_horizontal(EVENT, KNOWN).alias("at"), pl.lit(0).alias("order"))
    both = pl.concat([told, asked], how="diagonal").sort("entity", "at", "order")
    parts = []
    for window in WINDOWS:
        young = (pl.col(EVENT) > pl.col("at").last() - window) & pl.col(EVENT).is_not_null()
        made = both.rolling("at", group_by="entity", period=window).agg(
            pl.col("order").last(), *_expressions(window, lambda column, young=young: column.filter(young))
        )
        parts.append(made.filter(pl.col("order") == 1).drop("entity", "at", "order"))
    return pl.concat(parts, how="horizontal")


def _expressions(window: timedelta, kept: Callable[[pl.Expr], pl.Expr]) -> list[pl.Expr]:
    made = [kept(pl.col("big")).mean().alias(f"share_{window.days}")]
    for column in COLUMNS:
        value = kept(pl.col(column))
        answers = {
            "count": value.count(),
            "sum": value.sum(),
            "mean": value.mean(),
            "std": value.std(),
            "min": value.min(),
            "max": value.max(),
            "last": value.last(),
            "count_distinct": value.n_unique(),
        }
        made += [answer.alias(f"{name}_{column}_{window.days}") for name, answer in answers.items()]
    return made


WAYS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {"product": product, "rolling": rolling, "exact": exact}


def measure(way: str, count: int) -> dict[str, float]:
    """Seconds of CPU and of the clock of one way, peak memory of its process, and the memory of its answers."""
    frame = events(count)
    cpu, clock = time.process_time(), time.perf_counter()
    answers = WAYS[way](frame)
    return {
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "seconds": round(time.perf_counter() - clock, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20), 2),
        "answers_gib": round(answers.estimated_size() / (1 << 30), 2),
        "aggregates": answers.width,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    count = 3_400_000 if options.full else 340_000
    if options.way:
        print(json.dumps(measure(options.way, count)))
        return 0
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.bench_aggregates", *(["--full"] * options.full)]
    ways = {
        way: json.loads(subprocess.run([*command, "--way", way], check=True, capture_output=True, text=True).stdout)
        for way in WAYS
    }
    ratios = {way: ways["product"]["cpu_seconds"] / ways[way]["cpu_seconds"] for way in ("rolling", "exact")}
    line = {
        "bench": "aggregates",
        "events": count,
        **ways,
        "ratio_of_rolling": round(ratios["rolling"], 2),
        "ratio_of_exact": round(ratios["exact"], 2),
        "held": ratios["rolling"] <= MAX_RATIO_OF_ROLLING and ratios["exact"] < MAX_RATIO_OF_EXACT,
    }
    print(json.dumps(line))
    return 0 if line["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
