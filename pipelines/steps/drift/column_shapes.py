"""Draws the shapes of columns on both sides of a comparison, by Evidently, on sampled rows; it decides nothing.

Evidently takes seconds to import and to draw, so this module is imported only where shapes are drawn.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path

import polars as pl
from evidently import DataDefinition, Dataset, Report
from evidently.presets import ValueStats

from pipelines import store_paths
from pipelines.errors import AirworthyError, Refused
from pipelines.messages.monitoring import DriftResult
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.evaluation.rows import trained_columns
from pipelines.steps.snapshot.files import open_files

SAMPLE_ROWS = 2000
"""Rows per side at most, so that plotting takes seconds."""


def draw_shapes(result: DriftResult, names: Sequence[str], ports: Ports) -> tuple[str, str]:
    """A page of Evidently with the columns in this order, and a text about the rows that were drawn.

    The samples are drawn with the day as seed, so the same day gives the same rows: from the live version's training
    snapshot (train and validation parts) and from the feature table's days of the window. Raises ``Refused`` with
    the reason why there are no shapes.
    """
    assert result.version is not None, "nothing is measured without a live version"
    view = ports.catalog.view_of(result.model)
    try:
        live = ports.registry.get(result.model, result.version)
        held, reference_rows = _training_rows(live, list(names), ports)
        reference, _ = _sample(held, result.day)
        columns = trained_columns(result.model, result.version, names, ports)
        current, current_rows = _sample(_window_rows(result, view.view, columns, ports), result.day)
        page = _evidently_page(reference, current, {name: view.features[name].type for name in names})
    except AirworthyError as error:
        raise Refused(str(error)) from error
    except Exception as error:  # a failed plot must not fail the measurement
        raise Refused(f"{type(error).__name__}: {error}") from error
    rows = (
        f"{reference.height} of {reference_rows} training rows of version {live.version}, "
        f"{current.height} of {current_rows} rows of {result.window[0]} to {result.window[-1]}"
    )
    return page, rows


def _training_rows(live: VersionInfo, names: list[str], ports: Ports) -> tuple[pl.DataFrame, int]:
    """Rows to sample from and the number of training rows; a snapshot in batches is not read into memory whole."""
    digest = live.tags.get("airworthy.snapshot")
    if digest is None:
        raise Refused(f"version {live.version} has no tag airworthy.snapshot, so its training rows are not known")
    parts = ("train", "validation")
    if files := open_files(ports.store, live.model, digest):
        return files.sample(SAMPLE_ROWS, *parts).select(names), sum(
            file.rows for file in files.list.files_of_parts(*parts)
        )
    rows = pl.read_parquet(BytesIO(ports.store.get(store_paths.snapshot(live.model, digest, "data.parquet"))))
    rows = rows.filter(pl.col("part").is_in(parts)).select(names)
    return rows, rows.height


def _window_rows(result: DriftResult, view: str, columns: Mapping[str, str], ports: Ports) -> pl.DataFrame:
    """``columns``: feature to its column of the feature table, that of the version which the model was trained on."""
    table = store_paths.features(view)
    days = sorted(set(result.window) & set(ports.store.days(table)))
    if not days:
        raise Refused(f"{table} has no rows of {result.window[0]} to {result.window[-1]}")
    rows = ports.store.read(table, days=days, columns=list(columns.values()))
    return rows.select(pl.col(column).alias(name) for name, column in columns.items())


def _sample(rows: pl.DataFrame, day: date) -> tuple[pl.DataFrame, int]:
    return rows.sample(min(SAMPLE_ROWS, rows.height), seed=day.toordinal()), rows.height


def _evidently_page(reference: pl.DataFrame, current: pl.DataFrame, kinds: Mapping[str, str]) -> str:
    """The shapes of the columns on both sides, without Evidently's own tests of drift: they would judge the sample."""
    # Evidently fails on a column without any value.
    drawn = [name for name in kinds if reference[name].count() and current[name].count()]
    definition = DataDefinition(
        numerical_columns=[name for name in drawn if kinds[name] == "numeric"],
        categorical_columns=[name for name in drawn if kinds[name] == "categorical"],
    )
    report = Report([ValueStats(column=name) for name in drawn], include_tests=False)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # about empty bins of the sample
        sides = [Dataset.from_pandas(side.select(drawn).to_pandas(), definition) for side in (current, reference)]
        page = Path(folder) / "report.html"
        report.run(*sides).save_html(str(page))
        return page.read_text(encoding="utf-8")
