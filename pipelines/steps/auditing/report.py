"""Renders a validation report as one HTML file that needs no network: the verdict, bad rows, expectations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from pipelines.messages.validation import AuditResult, SourceAudit
from pipelines.rules.quarantine import judge_audit
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import partition_name
from pipelines.spec.source import SourceSpec
from pipelines.spec.suite import judged_columns
from pipelines.steps.reporting.verdict_section import page_title, verdict_section
from pipelines.tables.quarantined_rows import QuarantinedRow
from pipelines.verdict import Outcome, counted

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0;width:100%}th,td{padding:.35rem .7rem;border-bottom:1px solid #dde3ea;
text-align:left;vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums}th{color:#5a6b7d;
font-weight:600}.bad{color:#b3261e}.good{color:#1b7f4b}iframe{width:100%;height:38rem;border:1px solid #dde3ea;
border-radius:6px}summary{cursor:pointer;font-weight:600;margin:1rem 0 .5rem}
"""
FRAME_CSS = """
body{font:14px/1.45 system-ui,sans-serif;color:#1d2733;margin:1rem}table{border-collapse:collapse;width:100%}
th,td{padding:.3rem .6rem;border-bottom:1px solid #dde3ea;text-align:left;vertical-align:top}
.badge{background:#eef2f6;border-radius:4px;padding:0 .35rem}.navbar,.col-lg-2,.btn,button,.modal,.breadcrumb,
[id*=filter],[class*=walkthrough]{display:none}.text-success,.fa-check-circle{color:#1b7f4b}.text-danger,
.fa-times{color:#b3261e}.fa-check-circle::before{content:"\\2713"}.fa-times::before{content:"\\2717"}
.collapse{display:block}ul{padding-left:1.2rem}.hide-failed-validation-content-block{display:none}
"""
EXTERNAL_CONTENT = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>|\s(?:href|src)=\"(?!#)[^\"]*\"|url\([^)]*\)",
    re.DOTALL | re.IGNORECASE,
)
"""Elements that load from the network or link to other pages."""


GX_STATUS = re.compile(r"<br>\s*<span class=\"h6\"\s*>Status:</span>.*?</i>\s*(?:Succeeded|Failed)", re.DOTALL)
"""Great Expectations' headline, which says *Failed* of a partition that is published without its bad rows."""
MEANINGS = {
    Outcome.PASS: "the accepted rows are published",
    Outcome.FAIL: "nothing of this partition is published",
    Outcome.UNKNOWN: "nothing was audited",
}
COUNT_FIELDS = (
    "element_count",
    "missing_count",
    "missing_percent",
    "unexpected_count",
    "unexpected_percent",
    "unexpected_percent_nonmissing",
    "unexpected_percent_total",
)
"""Fields of a result that hold no value of the judged column."""
MAX_SHOWN_ROWS = 200
"""Most quarantined rows of a source on the page."""


def render_report(
    audit: AuditResult,
    spec: DatasetSpec,
    results: Mapping[str, ExpectationSuiteValidationResult],
    quarantined: Mapping[str, Sequence[QuarantinedRow]],
) -> str:
    """One page: the verdict, all sources, the quarantined rows, and below them Great Expectations' page of each source.

    The verdict is that of the rule which the task asks, too.
    """
    verdict = judge_audit(audit, spec.max_quarantined_share)
    rows = "".join(map(_row, audit.sources))
    view: Any = DefaultJinjaPageView()  # one for all sources: each view compiles its templates again
    frames = "".join(
        f"<details><summary>{escape(source)}: every expectation</summary><iframe title='{escape(source)}' "
        f'srcdoc="{escape(_validation_page(_without_personal_data(result, spec.sources[source]), view), quote=True)}">'
        "</iframe></details>"
        for source, result in results.items()
    )
    tables = "".join(
        _quarantine_table(audit.dataset, source, source_rows)
        for source, source_rows in quarantined.items()
        if source_rows
    )
    counts = "<th class='n'>received<th class='n'>accepted<th class='n'>quarantined"
    head = f"<tr><th>source{counts}<th>why</tr>"
    subject = f"{audit.dataset} {partition_name(audit.partition)}"
    title = page_title(f"{subject}, validation", verdict)
    headline = verdict_section(verdict.model_copy(update={"findings": ()}), MEANINGS[verdict.outcome])
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{STYLE}</style></head><body><h1>{escape(subject)}</h1>{headline}"
        f"<table>{head}{rows}</table>{tables}{frames}</body></html>"
    )


def _quarantine_table(dataset: str, source: str, rows: Sequence[QuarantinedRow]) -> str:
    """Partition, key, judged values and reasons of each row."""
    body = "".join(
        f"<tr><td>{escape(row.partition)}<td>{_pairs(row.key)}<td>{_pairs(row.values)}<td>{_lines(row.reasons)}</tr>"
        for row in rows[:MAX_SHOWN_ROWS]
    )
    left_out = len(rows) - MAX_SHOWN_ROWS
    more = f"<p>and {left_out:,} more: <code>airworthy quarantine {dataset} {source}</code></p>" if left_out > 0 else ""
    head = "<tr><th>partition<th>key<th>value<th>why</tr>"
    return f"<h2>{escape(source)}: rows in quarantine</h2><table>{head}{body}</table>{more}"


def _pairs(values: Mapping[str, str]) -> str:
    return _lines(f"{name} {value}" for name, value in values.items())


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(map(escape, texts))


def _without_personal_data(
    result: ExpectationSuiteValidationResult, source: SourceSpec
) -> ExpectationSuiteValidationResult:
    """Leave out the values that Great Expectations found in columns that are declared ``pii``."""
    columns = source.stored_columns()
    for item in result.results:
        config: Any = item.expectation_config
        if any(name in columns and columns[name].pii for name in judged_columns(config.kwargs)):
            item.result = {name: value for name, value in item.result.items() if name in COUNT_FIELDS}
    return result


def _row(audit: SourceAudit) -> str:
    why = [f"{escape(reason)} ({counted(count, 'row')})" for reason, count in sorted(audit.reasons.items())]
    why += [f"<span class='bad'>{escape(failure)}</span>" for failure in audit.failures]
    css_class = "bad" if audit.quarantined or audit.failures else "good"
    return (
        f"<tr><td>{escape(audit.source)}<td class='n'>{audit.received:,}<td class='n'>{audit.accepted:,}"
        f"<td class='n {css_class}'>{audit.quarantined:,}<td>{'<br>'.join(why)}</tr>"
    )


def _validation_page(result: ExpectationSuiteValidationResult, view: Any) -> str:
    """Great Expectations' own page, without the scripts and styles that it would fetch from the network."""
    meta: Any = result.meta
    meta.setdefault("run_id", {"run_name": "", "run_time": ""})
    page = view.render(ValidationResultsPageRenderer(run_info_at_end=True).render(result))
    page = GX_STATUS.sub("", page)
    return EXTERNAL_CONTENT.sub("", page).replace("</head>", f"<style>{FRAME_CSS}</style></head>", 1)
