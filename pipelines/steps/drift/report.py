"""Writes the drift report: one HTML page with the verdict, its measures by profiles, and shapes of sampled rows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.monitoring import DriftMeasure, DriftResult
from pipelines.ports import Ports
from pipelines.rules.drift_check import judge_drift
from pipelines.rules.drift_findings import has_drifted
from pipelines.spec.model import ModelSpec
from pipelines.steps.reporting.verdict_section import page_title, verdict_section
from pipelines.verdict import Outcome, Verdict

MEANINGS = {
    Outcome.PASS: "no column broke",
    Outcome.FAIL: "a column broke",
    Outcome.UNKNOWN: "not everything could be measured",
}
EMPTY_PAGE = "<!doctype html><html lang='en'><head><meta charset='utf-8'></head><body></body></html>"


def write_report(result: DriftResult, names: Sequence[str], ports: Ports, *, shapes: bool) -> DriftResult:
    """Write ``store_paths.drift_report``; the result with its URI, and with a note of why no shapes could be drawn.

    ``shapes``: draw those of all columns, the columns that broke first, below the verdict and the measures.
    """
    spec = ports.catalog.model(result.model)
    page, about = EMPTY_PAGE, "No column broke, so no shapes are drawn; a run by hand with the field shapes draws them."
    if shapes:
        from pipelines.steps.drift.column_shapes import draw_shapes  # here, since evidently takes seconds to import

        try:
            page, rows = draw_shapes(result, _ordered(result, names), ports)
            about = f"Below are the shapes of a random sample, by which nothing is decided: {rows}."
        except Refused as error:
            about = f"no shapes of columns: {error}"
            result = result.model_copy(update={"notes": [*result.notes, about]})
    verdict = judge_drift(result, spec)
    title = page_title(f"{result.model} {result.day}, drift", verdict)
    page = _after_tag(page, "<head", f"<title>{title}</title>")  # Evidently's page has none
    page = _after_tag(page, "<body", _heading(result, spec, verdict, about))
    uri = ports.store.put(store_paths.drift_report(result.model, result.day), page.encode("utf-8"))
    return result.model_copy(update={"report": uri})


def _ordered(result: DriftResult, names: Sequence[str]) -> list[str]:
    """The columns that broke, then the others by their distance from training."""
    psi = {measure.name: measure.psi or 0.0 for measure in result.features}
    broken = {finding.column: place for place, finding in enumerate(result.findings)}
    return sorted(names, key=lambda name: (broken.get(name, len(broken)), -psi.get(name, 0.0)))


def _after_tag(page: str, tag: str, content: str) -> str:
    """The page with ``content`` right after the first ``<head>`` or ``<body>``; without one at its beginning."""
    start = page.find(tag)
    after = page.find(">", start) + 1 if start >= 0 else 0
    return page[:after] + content + page[after:]


def _heading(result: DriftResult, spec: ModelSpec, verdict: Verdict, about_shapes: str) -> str:
    """The verdict with its numbers, by the rule that the task asks, too."""
    drift = spec.monitoring.drift
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
        f"<p>{escape(about_shapes)}</p></section>"
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
