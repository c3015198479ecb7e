"""Writes the page about live inputs: the verdict, then a table of all columns by every measure."""

from __future__ import annotations

from html import escape

from pipelines import store_paths
from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.messages.monitoring import DriftMeasure
from pipelines.ports import Store
from pipelines.rules.live_input_check import judge_live_inputs
from pipelines.spec.model import ModelSpec
from pipelines.steps.reporting.verdict_section import page_title, verdict_section
from pipelines.verdict import Outcome

MEANINGS = {
    Outcome.PASS: "callers send what the version was trained for",
    Outcome.FAIL: "callers send something else in at least one column",
    Outcome.UNKNOWN: "not everything could be measured",
}
COLUMNS = (
    ("column", ""),
    ("no value", "share of the rows, and the view's max_null_share"),
    ("beyond limits", "share of the rows beyond the view's minimum or maximum"),
    ("new category", "share of the rows with a category that training had not"),
    ("differs offline", "share of the rows whose value is not the one of the offline feature table"),
    ("test", "Kolmogorov-Smirnov of numbers, chi-squared of categories, against the training rows"),
    ("p-value", ""),
    ("PSI", "population stability index"),
    ("KL", "Kullback-Leibler divergence in nats"),
    ("Wasserstein", "in standard deviations of the training rows"),
    ("PSI by count", "of the newest rows against the rows before them"),
)


def write_page(result: LiveInputsResult, spec: ModelSpec, store: Store) -> str:
    """Write ``store_paths.live_input_report`` and return its URI."""
    verdict = judge_live_inputs(result, spec)
    faults = verdict.facts["faults"]
    assert isinstance(faults, list)
    ordered = sorted(result.measures, key=lambda m: (m.name not in faults, -(m.training.psi or 0.0), m.name))
    heads = "".join(f"<th title='{escape(meaning)}'>{escape(name)}</th>" for name, meaning in COLUMNS)
    rows = "".join(_row(measure, measure.name in faults) for measure in ordered)
    title = page_title(f"{result.model} {result.day}, live inputs", verdict)
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{title}</title><style>body{{font-family:sans-serif;margin:2em}}td,th{{padding:.3em .6em;"
        "text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
        "tr.fault td{color:#b3261e}th[title]{cursor:help}</style></head><body>"
        f"<h1>{escape(f'What callers sent to {result.model} up to {result.day}')}</h1>"
        f"{verdict_section(verdict, MEANINGS[verdict.outcome])}"
        "<p>Limits, offline features and the column's own past decide. What differs from training, or from the rows "
        "before, is shown and fails nothing: seasons do that.</p>"
        f"<table><tr>{heads}</tr>{rows}</table></body></html>"
    )
    return store.put(store_paths.live_input_report(result.model, result.day), page.encode())


def _row(measure: InputMeasure, is_fault: bool) -> str:
    training = measure.training
    cells = [
        f"{measure.null_share:.1%} of {measure.max_null_share:.0%}",
        f"{measure.outside_share:.1%}",
        _share(measure.unseen_share),
        _share(measure.differing_share),
        "not measured" if training.statistic is None else f"{_TESTS[training.method]} {training.statistic:.3g}",
        _number(training.p_value, ".2g"),
        _number(training.psi, ".3f"),
        _number(measure.kl_divergence, ".3f"),
        _number(measure.wasserstein, ".3f"),
        _number(_psi(measure.recent), ".3f"),
    ]
    kind = " class='fault'" if is_fault else ""
    return f"<tr{kind}><td>{escape(measure.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


_TESTS = {"ks": "KS", "chi_squared": "χ²"}


def _psi(measure: DriftMeasure | None) -> float | None:
    return measure.psi if measure is not None else None


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1%}"


def _number(value: float | None, form: str) -> str:
    return "not measured" if value is None else f"{value:{form}}"
