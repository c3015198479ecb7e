"""Writes the drift report: one HTML page with the verdict, its measures by profiles, and shapes of sampled rows."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from datetime import date
from html import escape
from io import BytesIO
from pathlib import Path

import polars as pl
from evidently import DataDefinition, Dataset, Report
from evidently.presets import ValueStats

from pipelines import store_paths
from pipelines.errors import AirworthyError, Refused
from pipelines.messages.monitoring import DriftMeasure, DriftResult
from pipelines.ports import Ports, VersionInfo
from pipelines.rules.drift_check import judge_drift
from pipelines.rules.drift_findings import has_drifted
from pipelines.spec.model import ModelSpec
from pipelines.steps.reporting.verdict_section import page_title, verdict_section
from pipelines.steps.snapshot.files import open_files
from pipelines.verdict import Outcome

SAMPLE_ROWS = 2000
"""Rows per side at most, so that plotting takes seconds."""
MEANINGS = {
    Outcome.PASS: "no column broke",
    Outcome.FAIL: "a column broke",
    Outcome.UNKNOWN: "not everything could be measured",
}


def write_report(result: DriftResult, live: VersionInfo, names: list[str], ports: Ports) -> str:
    """Write ``store_paths.drift_report`` and return its URI.

    The samples are drawn with the day as seed, so the same day gives the same rows: from the live version's training
    snapshot (train and validation parts) and from the feature table's days of the window. Raises ``Refused`` with
    the reason why there is no report.
    """
    view, spec = ports.catalog.view_of(result.model), ports.catalog.model(result.model)
    psi = {measure.name: measure.psi or 0.0 for measure in result.features}
    moved = {finding.column: place for place, finding in enumerate(result.findings)}
    ordered = sorted(names, key=lambda name: (moved.get(name, len(moved)), -psi.get(name, 0.0)))
    kinds = {name: view.features[name].type for name in ordered}
    try:
        held, reference_rows = _training_rows(live, names, ports)
        reference, _ = _sample(held, result.day)
        current, current_rows = _sample(_window_rows(result, view.view, names, ports), result.day)
        page = _evidently_page(reference, current, kinds)
    except AirworthyError as error:
        raise Refused(str(error)) from error
    except Exception as error:  # a failed plot must not fail the measurement
        raise Refused(f"{type(error).__name__}: {error}") from error
    sides = (
        f"{reference.height} of {reference_rows} training rows of version {live.version}, "
        f"{current.height} of {current_rows} rows of {result.window[0]} to {result.window[-1]}"
    )
    title = page_title(f"{result.model} {result.day}, drift", judge_drift(result, spec))
    page = _after_tag(
        page, "<head", f"<title>{title}</title>"
    )  # Evidently's page has none, and a tab shows its address
    page = _after_tag(page, "<body", _heading(result, spec, sides))
    return ports.store.put(store_paths.drift_report(result.model, result.day), page.encode("utf-8"))


def _after_tag(page: str, tag: str, content: str) -> str:
    """The page with ``content`` right after the first ``<head>`` or ``<body>``; without one at its beginning."""
    start = page.find(tag)
    after = page.find(">", start) + 1 if start >= 0 else 0
    return page[:after] + content + page[after:]


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


def _window_rows(result: DriftResult, view: str, names: list[str], ports: Ports) -> pl.DataFrame:
    table = store_paths.features(view)
    days = sorted(set(result.window) & set(ports.store.days(table)))
    if not days:
        raise Refused(f"{table} has no rows of {result.window[0]} to {result.window[-1]}")
    return ports.store.read(table, days=days, columns=names).select(names)


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


def _heading(result: DriftResult, spec: ModelSpec, sides: str) -> str:
    """The verdict with its numbers, by the rule that the task asks, too."""
    verdict, drift = judge_drift(result, spec), spec.monitoring.drift
    title = escape(f"{result.model}, {result.day}: the last {len(result.window)} days against version {result.version}")
    thresholds = [(measure, drift.psi_threshold) for measure in result.features]
    if result.prediction is not None:
        thresholds.append((result.prediction, drift.prediction_drift_threshold))
    ranked = sorted(thresholds, key=lambda pair: pair[0].psi or 0.0, reverse=True)
    rows = "".join(_table_row(measure, spec, threshold) for measure, threshold in ranked)
    remarks = [f"no profile of {day}" for day in result.missing_days] + result.notes
    listed = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    columns = ("column", "test", "statistic", "p-value", "limit", "PSI", "limit", "rows", "differs")
    return (
        '<section style="font-family: sans-serif; margin: 2em">'
        f"<h1>Drift of {title}</h1>{verdict_section(verdict, MEANINGS[verdict.outcome])}"
        "<p>Measured from the profiles of all rows. A column breaks if it leaves its own past of the last weeks. "
        "It differs from the training rows if its p-value is below its limit and its PSI reaches its own; seasons do "
        "that, and it fails nothing.</p>"
        f"<table cellpadding='4'><tr>{''.join(f'<th>{name}</th>' for name in columns)}</tr>{rows}</table>"
        f"<ul>{listed}</ul>"
        f"<p>Below are the shapes of a random sample, by which nothing is decided: {escape(sides)}.</p></section>"
    )


def _table_row(measure: DriftMeasure, spec: ModelSpec, threshold: float) -> str:
    is_measured = measure.p_value is not None and measure.psi is not None
    drifts = "not measured" if not is_measured else "yes" if has_drifted(measure, spec, threshold) else "no"
    p_value = [_number(measure.p_value), f"{spec.monitoring.drift.p_value:g}"]
    psi = [_number(measure.psi), f"{threshold:g}"]
    tested = [escape(measure.name), measure.method, _number(measure.statistic)]
    row = [*tested, *p_value, *psi, f"{measure.rows:,}", drifts]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
