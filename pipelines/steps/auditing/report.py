"""Renders a day's validation report as one HTML file that needs no network: counts, reasons and every expectation."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from pipelines.messages.validation import SourceAudit

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0;width:100%}th,td{padding:.35rem .7rem;border-bottom:1px solid #dde3ea;
text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}th{color:#5a6b7d;
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


def render_report(title: str, audits: list[SourceAudit], results: dict[str, ExpectationSuiteValidationResult]) -> str:
    """One page: a table of all sources, the reasons, and below it Great Expectations' page of each source."""
    rows = "".join(_row(audit) for audit in audits)
    view: Any = DefaultJinjaPageView()  # one for all sources: each view compiles its templates again
    frames = "".join(
        f"<details open><summary>{escape(source)}</summary><iframe title='{escape(source)}' "
        f'srcdoc="{escape(_validation_page(result, view), quote=True)}"></iframe></details>'
        for source, result in results.items()
    )
    head = "<tr><th>source<th>received<th>accepted<th>quarantined<th>why</tr>"
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><table>{head}{rows}</table>{frames}</body></html>"
    )


def _row(audit: SourceAudit) -> str:
    why = [f"{escape(reason)} ({count} rows)" for reason, count in sorted(audit.reasons.items())]
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
    return EXTERNAL_CONTENT.sub("", page).replace("</head>", f"<style>{FRAME_CSS}</style></head>", 1)
