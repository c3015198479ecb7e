"""`airworthy traffic` asks about real data at a steady rate, and records which version answered each, and when."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.cli import arguments
from pipelines.demo.replay import live_features
from pipelines.errors import Refused
from pipelines.ports import Ports
from pipelines.spec.features import FeatureView

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_SECONDS = 10.0
MAX_OPEN_REQUESTS = 400


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("traffic", help="ask the gateway about real data at a steady rate")
    command.add_argument("model")
    command.add_argument("--rps", type=arguments.positive, default=60.0, help="requests per second, one row each")
    command.add_argument("--seconds", type=arguments.positive, default=60.0)
    command.add_argument("--from", dest="first", type=arguments.day, required=True, help="first day of the rows")
    command.add_argument("--days", type=arguments.count, default=30)
    command.add_argument("--to", type=arguments.new_file, help="Parquet file of all answers: at, status, version, arm")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Send requests until the time is up or SIGTERM or SIGINT comes; then print which versions answered."""
    bodies = row_requests(options.model, options.first, options.days, ports)
    answers = asyncio.run(send_requests(options.model, bodies, options.rps, options.seconds, ports))
    if options.to is not None:
        answers.write_parquet(options.to)
    versions = Counter(answers.filter(answers["status"] == 200)["version"].to_list())
    counts = ", ".join(f"version {version} {count:,}" for version, count in sorted(versions.items()))
    print(f"{answers.height:,} requests, {count_errors(answers)} errors; {counts or 'no version answered'}")
    return 0


def count_errors(answers: pl.DataFrame) -> int:
    """Number of requests without a prediction."""
    return int((answers["status"] != 200).sum())


def row_requests(model: str, first: date, days: int, ports: Ports) -> list[bytes]:
    """One request for each row of these days, in order of prediction time; its id is its routing key.

    A row with a feature outside its declared range is left out: no caller could ask about it.
    """
    import orjson

    spec = ports.catalog.model(model)
    view = ports.catalog.view(spec.view)
    columns = list(spec.training.features or view.features)
    dates = [first + timedelta(days=number) for number in range(days)]
    frame = live_features(view, ports.catalog.dataset(view.dataset), dates).sort("prediction_time", "entity_id")
    for name in columns:
        frame = frame.filter(_in_range(name, view))
    if frame.is_empty():
        raise Refused(f"{view.view} has no rows from {first} for {days} day(s)")
    rows = frame.select("entity_id", *columns).iter_rows()
    return [
        orjson.dumps({"dataframe_split": {"columns": columns, "data": [values]}, "ids": [entity]})
        for entity, *values in rows
    ]


def _in_range(name: str, view: FeatureView) -> pl.Expr:
    """Whether a feature is missing or lies in its declared range."""
    import polars as pl

    limits, value = view.features[name].constraints, pl.col(name)
    fits = pl.lit(True)
    if limits.minimum is not None:
        fits = fits & (value >= limits.minimum)
    if limits.maximum is not None:
        fits = fits & (value <= limits.maximum)
    return value.is_null() | fits


async def send_requests(model: str, bodies: list[bytes], rps: float, seconds: float, ports: Ports) -> pl.DataFrame:
    """Every request that was due with its answer: ``at`` (seconds since 1970), ``status`` (0: none came), ``version``,
    ``arm``."""
    import polars as pl

    from pipelines.steps.load_testing.open_loop import OpenLoop, RequestOutcome, RequestSchedule, RequestTarget

    stopped = False
    answers: list[tuple[float, int, str, str]] = []

    def stop_sending() -> None:
        nonlocal stopped
        stopped = True

    def judge(status: int, headers: dict[bytes, bytes], _: bytes) -> str:
        version, arm = headers.get(b"x-model-version", b""), headers.get(b"x-model-arm", b"champion")
        answers.append((time.time(), status, version.decode(), arm.decode()))
        return "" if status == 200 else f"status {status}"

    def stop(_: RequestOutcome) -> bool:
        return stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_sending)
    key = os.environ.get("AIRWORTHY_GATEWAY_KEY")
    url = f"{ports.settings.gateway.rstrip('/')}/models/{model}/invocations"
    target = RequestTarget(url, bodies, judge, {"x-api-key": key} if key else {})
    schedule = RequestSchedule(rps, seconds)
    outcome = await OpenLoop(target, schedule, [], timeout=TIMEOUT_SECONDS, max_open=MAX_OPEN_REQUESTS, stop=stop).run()
    unanswered = outcome.sent - len(answers)
    answers += [(time.time(), 0, "", "")] * unanswered
    return pl.DataFrame(answers, schema=["at", "status", "version", "arm"], orient="row")
