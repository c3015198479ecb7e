"""`airworthy replay` asks the gateway about every row of the given days, in order of prediction time."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines import store_paths
from pipelines.cli import arguments
from pipelines.cli.names import check_order
from pipelines.demo.source_systems import DATASETS, source_text
from pipelines.errors import Refused, Unavailable
from pipelines.ports import Endpoint, Ports
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.source import SourceSpec

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 200
MAX_ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.2


@dataclass
class ReplaySummary:
    """The requests of a replay. ``answered``: rows per model; ``versions``: which version each model answered with."""

    days: list[date]
    answered: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("replay", help="ask the gateway about real data, in order of time")
    command.add_argument("--from", dest="first", required=True, type=arguments.day, help="first day")
    command.add_argument("--to", dest="last", required=True, type=arguments.day, help="last day, included")
    command.add_argument(
        "--model",
        action="append",
        help="only this model; may be repeated (default: all that are live and have rows on these days)",
    )
    command.add_argument("--batch", type=arguments.count, default=BATCH_ROWS, help="most rows in one request")
    command.add_argument("--single", action="store_true", help="one row per request")
    command.add_argument("--until-now", action="store_true", help="leave out rows that cannot be asked about yet")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Replay and print what was answered."""
    check_order(options.first, options.last)
    days = [options.first + timedelta(days=number) for number in range((options.last - options.first).days + 1)]
    until = ports.clock() if options.until_now else None
    summary = replay(days, options.model, ports, batch=1 if options.single else options.batch, until=until)
    for model, rows in summary.answered.items():
        print(f"{model}: {rows:,} rows answered by version {summary.versions[model]}")
    print(f"{summary.requests:,} requests for {len(days)} day(s) in {summary.seconds:.1f} s")
    return 0


def replay(
    days: Sequence[date],
    models: Sequence[str] | None,
    ports: Ports,
    *,
    batch: int = BATCH_ROWS,
    until: datetime | None = None,
) -> ReplaySummary:
    """Ask every model about every row of ``days`` in order of prediction time, with entity ids.

    ``models`` None: all that are live and whose dataset has these days. Of a panel the rows are those of the periods
    that begin on one of the days. Features are computed from the source's own data by training's code, so a day
    need not be ingested. A request holds rows of one prediction time, at most ``batch``. Rows later than ``until`` are
    left out. Replaying a day again logs its predictions again; monitoring counts the first of each entity and
    version. Raises ``Refused`` for a model that is not live or has no rows on these days, ``Unavailable`` if the
    gateway stays down.
    """
    if batch < 1:
        raise Refused(f"a request holds at least one row, not {batch}")
    started = time.monotonic()
    summary = ReplaySummary(days=list(days))
    names = _live_models(models, days, ports, summary)
    by_view: dict[str, list[str]] = {}
    for name in names:
        by_view.setdefault(ports.catalog.model(name).view, []).append(name)
    for view_name, of_view in by_view.items():
        view = ports.catalog.view(view_name)
        columns = {name: _columns(name, summary.versions[name], view, ports) for name in of_view}
        frame = live_features(view, ports.catalog.dataset(view.dataset), days)
        for moment, rows in _batches(view, frame, batch, until):
            ids = rows["entity_id"].to_list()
            for name in of_view:
                values = rows.select(columns[name]).rows()
                _predict_with_retry(ports.endpoint, name, columns[name], values, ids, moment)
                summary.answered[name] = summary.answered.get(name, 0) + len(ids)
                summary.requests += 1
    summary.seconds = time.monotonic() - started
    return summary


def _live_models(models: Sequence[str] | None, days: Sequence[date], ports: Ports, summary: ReplaySummary) -> list[str]:
    """Names of the models to request; their live versions are noted in the summary.

    Unless they are named, models are left out whose data the source systems here do not hold, or have on other days.
    """
    reasons = {name: _no_rows(name, days, ports) for name in (ports.catalog.models if models is None else models)}
    names = [name for name, reason in reasons.items() if models is not None or reason is None]
    if unknown := [reason for name in names if (reason := reasons[name])]:
        raise Refused("these models cannot be requested", unknown)
    for name in names:
        version = ports.endpoint.state(ports.catalog.model(name).model).version
        if version is not None:
            summary.versions[name] = version
            summary.answered[name] = 0
    not_live = [name for name in names if name not in summary.versions]
    if not_live and (models is not None or not summary.versions):
        texts = [f"{name} has no live version; release one by its deploy DAG" for name in not_live]
        raise Refused("these models cannot be requested", texts)
    if not names:
        raise Refused("no model can be requested", [reason for reason in reasons.values() if reason])
    return list(summary.versions)


def _no_rows(model: str, days: Sequence[date], ports: Ports) -> str | None:
    """Why there are no rows of a model to ask about on these days; None if there may be some."""
    view = ports.catalog.view_of(model)
    dataset = ports.catalog.dataset(view.dataset)
    name, first, end = dataset.dataset, dataset.partition.first_date, dataset.partition.end
    if name not in DATASETS:
        return f"{model} is of dataset {name}; send its rows to the gateway"
    outside = [day for day in days if day < first or (end is not None and day > end)]
    if outside:
        return f"{model} is of dataset {name}, which has no {outside[0]}; its days are {first} to {end}"
    if view.panel is not None and not _days_of_rows(view, days):
        return f"{model} is asked about once a {view.panel.calendar.noun}, and none begins on these days"
    return None


def _days_of_rows(view: FeatureView, days: Sequence[date]) -> list[date]:
    """Those of the days on which rows are asked about: all, or the first dates of a panel's periods."""
    return list(days) if view.panel is None else [day for day in days if view.days(day, day)]


def _columns(model: str, version: str, view: FeatureView, ports: Ports) -> list[str]:
    """The columns of the live version by its bundle; without one, the declared ones."""
    path = store_paths.bundle(model, version, "schema.json")
    if ports.store.exists(path):
        return [column["name"] for column in json.loads(ports.store.get(path))["columns"]]
    return list(ports.catalog.model(model).training.features or view.features)


def live_features(view: FeatureView, dataset: DatasetSpec, days: Sequence[date]) -> pl.DataFrame:
    """The feature table of ``days`` from the source's own data: one row per entity, with its ``entity_id``."""
    from pipelines.steps.features.compute import compute_features
    from pipelines.steps.features.source_days import sources_of
    from pipelines.tables.entity_id import entity_id

    row_days = _days_of_rows(view, days)
    frames = {name: typed_source_rows(name, view, dataset, row_days or days) for name in sources_of(view)}
    features = compute_features(view, frames, row_days, dataset)
    return features.with_columns(entity_id(view))


def typed_source_rows(name: str, view: FeatureView, dataset: DatasetSpec, days: Sequence[date]) -> pl.DataFrame:
    """Rows of one source that the features of ``days`` may read, typed as the contract says, each with its ``day``."""
    import polars as pl

    from pipelines.demo.event_days import event_days
    from pipelines.steps.features.source_days import first_day_read

    source, text = dataset.sources[name], source_text(dataset, name)
    if source.cadence == "reference":
        return _parse_columns(source, text).with_columns(day=pl.lit(dataset.partition.first_date))
    reached = first_day_read(view, name, min(days), dataset.partition.timezone) or min(days)
    last = max(days) if view.panel is None else view.panel.last_day(max(days))
    day_of_row = event_days(source, text, dataset.partition.timezone)
    within = day_of_row.is_between(reached, last)
    return _parse_columns(source, text.filter(within)).with_columns(day_of_row.filter(within).alias("day"))


def _parse_columns(source: SourceSpec, text: pl.DataFrame) -> pl.DataFrame:
    """Text columns as the contract's types; a text that does not parse is null."""
    from pipelines.steps.ingestion.column_values import typed_columns

    return typed_columns(text, source.columns, source.files)[1]


def _batches(
    view: FeatureView, frame: pl.DataFrame, batch: int, until: datetime | None
) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """Rows of one prediction time after the other, at most ``batch`` at once."""
    import polars as pl

    rows = frame if until is None else frame.filter(pl.col("prediction_time") <= until)
    ordered = rows.sort("prediction_time", *view.key)
    for (moment,), group in ordered.group_by(["prediction_time"], maintain_order=True):
        assert isinstance(moment, datetime)
        for part in group.iter_slices(batch):
            yield moment, part


def _predict_with_retry(
    endpoint: Endpoint,
    model: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    ids: Sequence[str],
    moment: datetime,
) -> None:
    """One request, repeated if the gateway is down for some seconds (a worker was replaced)."""
    for attempt in range(MAX_ATTEMPTS):
        try:
            endpoint.predict(model, columns, rows, ids=ids, prediction_time=moment)
        except Unavailable:
            if attempt == MAX_ATTEMPTS - 1:
                raise
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
        else:
            return
