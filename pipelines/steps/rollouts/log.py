"""Reads a rollout's answers from the prediction log and joins them with the outcomes known so far."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from io import BytesIO

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ports import Ports, Store
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.steps.features.validated_table import ValidatedTable
from pipelines.steps.labels.read_labels import read_labels
from pipelines.steps.labels.row_labels import row_labels
from pipelines.tables.entity_id import entity_id, with_former_ids

SCHEMA = pl.Schema(
    {
        "prediction_time": pl.Datetime("us", "UTC"),
        "logged_at": pl.Datetime("us", "UTC"),
        "request_id": pl.String(),
        "row": pl.Int64(),
        "entity_id": pl.String(),
        "version": pl.String(),
        "role": pl.String(),
        "prediction": pl.Float64(),
        "latency_us": pl.Int64(),
        "unit": pl.String(),
        "fallback": pl.Boolean(),
        "cache_hit": pl.Boolean(),
    }
)
OUTCOME_PREFIX = "outcome_"
"""Prefix of a column of the outcomes beside the answers; ``label`` is the declared target."""


def read_rollout(store: Store, model: str, rollout_id: str, started: datetime) -> pl.DataFrame:
    """Rows of this rollout in all roles but ``probe``, with the columns of ``SCHEMA``, oldest first.

    ``unit`` names the routing key; where the log has no such column it is the key's bucket, which several keys share.
    The log is partitioned by the day of the event: the days since the start of the rollout are read, or all days if
    these hold none of its rows (a replay). Raises ``Refused`` that names every unreadable file.
    """
    paths = [path for path in store.list(store_paths.predictions(model)) if path.endswith(".parquet")]
    since = f"{started - timedelta(days=1):%Y-%m-%d}"
    recent = [path for path in paths if path.partition("date=")[2][:10] >= since]
    frame = _read_files(store, recent, model, rollout_id)
    if frame.is_empty() and len(recent) < len(paths):
        frame = _read_files(store, paths, model, rollout_id)
    return frame.sort("logged_at", "request_id", "row", "role")


def _read_files(store: Store, paths: Sequence[str], model: str, rollout_id: str) -> pl.DataFrame:
    frames, faults = [], []
    for path in paths:
        try:
            rows = _read_rollout_rows(store.get(path), rollout_id)
        except (pl.exceptions.PolarsError, OSError) as error:
            faults.append(f"{path}: {str(error).splitlines()[0]}")
            continue
        if rows.height:
            frames.append(rows)
    if faults:
        raise Refused(f"the prediction log of {model} has unreadable files; restore or move them away", faults)
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)


def _read_rollout_rows(content: bytes, rollout_id: str) -> pl.DataFrame:
    schema = pl.read_parquet_schema(BytesIO(content))
    if "rollout_id" not in schema or "role" not in schema:
        return pl.DataFrame(schema=SCHEMA)
    columns = [name for name in (*SCHEMA, "bucket", "rollout_id") if name in schema]
    frame = pl.read_parquet(BytesIO(content), columns=columns)
    frame = frame.filter((pl.col("rollout_id") == rollout_id) & (pl.col("role") != "probe"))
    missing = {name: pl.lit(None, kind) for name, kind in SCHEMA.items() if name not in schema}
    if "unit" in missing and "bucket" in schema:
        missing["unit"] = pl.col("bucket").cast(pl.String)
    return frame.with_columns(**missing).select(SCHEMA.names()).cast(SCHEMA)


def with_outcomes(frame: pl.DataFrame, ports: Ports, spec: ModelSpec, columns: Sequence[str] = ()) -> pl.DataFrame:
    """The rows with ``label`` (0 or 1 for a classification, else the value; null: not known yet) and the numeric
    ``columns`` of the outcomes as ``outcome_<name>``, joined by entity.

    Raises ``Refused`` for a column that the outcomes do not have or that is not numeric.
    """
    view = ports.catalog.view_of(spec.model)
    table = store_paths.features(view.view)
    with_entity = frame.filter(pl.col("entity_id").is_not_null())
    named = {name: f"{OUTCOME_PREFIX}{name}" for name in columns}
    entities = ValidatedTable(ports.store, view, view.entity_source)
    days = _event_days(with_entity, ports.store.days(table) if view.label_follows else entities.days(), view)
    if not days:
        return frame.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("label", *named.values()))
    if view.label_follows:
        labels = read_labels(ports.store, view, ports.catalog.dataset(view.dataset), spec.target.expression, days)
        labels = labels.select(entity_id(view), "label").unique("entity_id", keep="last")
        frame = frame.join(labels, on="entity_id", how="left", maintain_order="left")
    if view.label_follows and (view.panel is not None or not columns):
        return frame  # a row of a panel has no outcome but the label: the declaration of others is refused
    read = entities.read(days, list(dict.fromkeys([*view.key, *_target_columns(spec, view), *columns])))
    if faults := [f"{name} is {read[name].dtype}, not a number" for name in columns if not _is_number(read[name])]:
        raise Refused(f"{table} does not have these outcomes", faults)
    outcomes = read.select(
        entity_id(view),
        *_own_label(read, spec, view, ports),
        *(pl.col(name).cast(pl.Float64).alias(alias) for name, alias in named.items()),
    )
    outcomes = with_former_ids(outcomes.unique("entity_id", keep="last"))
    return frame.join(outcomes, on="entity_id", how="left", maintain_order="left")


def _target_columns(spec: ModelSpec, view: FeatureView) -> list[str]:
    return [] if view.label_follows else spec.target.columns


def _own_label(rows: pl.DataFrame, spec: ModelSpec, view: FeatureView, ports: Ports) -> list[pl.Series]:
    """The label that is in the rows themselves, if it is."""
    if view.label_follows:
        return []
    return [row_labels(rows, spec.target.expression, ports.catalog.dataset(view.dataset))]


def _event_days(rows: pl.DataFrame, published: Sequence[date], view: FeatureView) -> list[date]:
    """Published days, or periods of a panel, that may hold what these rows are about."""
    if rows.is_empty():
        return []
    if view.is_table:
        return list(published)
    dates = rows["prediction_time"].dt.date()
    first, last = dates.min(), dates.max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    before = timedelta(days=1) if view.panel is None else view.panel.longest
    return [day for day in published if first - before <= day <= last + timedelta(days=2) + view.lead]


def _is_number(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype == pl.Boolean
