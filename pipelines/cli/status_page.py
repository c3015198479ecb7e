"""Renders the summary of `airworthy status` as tables that fit a terminal; long lists end after six lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.spec.model import CLASSIFICATION_METRICS, REGRESSION_METRICS

SHOWN_METRICS = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}
MAX_SHOWN_COUNTS = 6
"""Most lines of a list; the rest is counted."""


def render_summary(summary: dict[str, Any]) -> Iterator[Any]:
    """Tables and lines, in the order of a model's life cycle."""
    for name, sources in summary["datasets"].items():
        yield _dataset_table(name, sources)
    for name, model in summary["models"].items():
        yield _version_table(name, model)
        yield from _model_lines(model)
    for name, why in summary["refused"].items():
        yield f"[red]{escape(name)} is left out:[/red] {escape(why)}"
    for what, why in summary["unreachable"].items():
        yield f"[yellow]{escape(what)} did not answer:[/yellow] {escape(why)}"


def _dataset_table(name: str, sources: dict[str, Any]) -> Table:
    table = Table(title=f"Data: {name}", title_justify="left")
    for heading, justify in (("source", "left"), ("days", "right"), ("first", "left"), ("last", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("accepted", "quarantined"):
        table.add_column(heading, justify="right")
    table.add_column("why quarantined (rows)")
    for source, facts in sources.items():
        table.add_row(
            source,
            str(facts["days"]),
            facts["first"] or "-",
            facts["last"] or "-",
            f"{facts['accepted']:,}",
            f"{facts['quarantined']:,}",
            _counts_text(facts["reasons"]),
        )
    return table


def _version_table(name: str, model: dict[str, Any]) -> Table:
    table = Table(title=f"Model: {name}", title_justify="left")
    for heading in ("version", "status", "alias", f"test {model['metric']}", "other test metrics", "gates"):
        table.add_column(heading)
    for version in model["versions"]:
        metrics = {
            name: version["metrics"][f"test_{name}"] for name in SHOWN_METRICS if f"test_{name}" in version["metrics"]
        }
        own = metrics.pop(model["metric"], None)
        table.add_row(
            f"{version['version']} ({version['semantic']})" if version["semantic"] else version["version"],
            version["status"] or "-",
            ", ".join(version["aliases"]) or "-",
            "-" if own is None else f"{own:.4f}",
            ", ".join(f"{metric} {value:.4f}" for metric, value in metrics.items()),
            "\n".join(_gate_text(gate) for gate in model["gates"] if gate["version"] == version["version"]) or "-",
        )
    return table


def _gate_text(gate: dict[str, Any]) -> str:
    reasons = "".join(f"\n  {escape(reason)}" for reason in gate["reasons"])
    return f"{escape(str(gate['gate']))}: {_outcome_text(gate['outcome'])}{reasons}"


def _model_lines(model: dict[str, Any]) -> Iterator[str]:
    live = model["live"]
    if live and live["version"]:
        previous = f", previous {live['previous']}" if live["previous"] else ""
        yield f"  live: version [bold]{live['version']}[/bold]{previous} ({live['workers']} workers)"
    else:
        yield "  live: nothing" if live else "  live: not known, the endpoint did not answer"
    if live and live["log_set_aside"]:
        yield (
            f"  [red]prediction log: {live['log_set_aside']:,} records cannot be converted[/red]; they are kept in the"
            " gateway's state folder, under wal/set_aside"
        )
    if rollout := model["rollout"]:
        share = rollout["split"].get(str(rollout["candidate"]), 0) / 100
        serves = f": version {rollout['candidate']} at {share:g} % of the traffic" if rollout["candidate"] else ""
        why = f" ({escape(rollout['reason'])})" if rollout["reason"] else ""
        yield f"  rollout {escape(rollout['rollout_id'])}: {rollout['phase']}{serves}{why}"
    if not model["monitoring"]:
        yield "  monitoring: no day was checked yet"
    for check, verdict in model["monitoring"].items():
        yield f"  {check} of {verdict['day']}: {_outcome_text(verdict['outcome'])} ({model['checked_days']} days)"
        yield from (f"    - {escape(reason)}" for reason in verdict["reasons"][:MAX_SHOWN_COUNTS])
        if len(verdict["reasons"]) > MAX_SHOWN_COUNTS:
            yield f"    - and {len(verdict['reasons']) - MAX_SHOWN_COUNTS} more"
    if model["drifted"]:
        yield f"  drifted (days): {_counts_text(model['drifted'])}"
    for request in model["retrain_requests"]:
        yield f"  retraining requested on {request['day']}: {escape('; '.join(request['reasons']))}"


def _outcome_text(outcome: Any) -> str:
    colour = COLOURS.get(str(outcome), "white")
    return f"[{colour}]{str(outcome).upper()}[/{colour}]"


def _counts_text(counts: dict[str, int]) -> str:
    shown = [f"{escape(name)} {count:,}" for name, count in list(counts.items())[:MAX_SHOWN_COUNTS]]
    rest = len(counts) - len(shown)
    return ", ".join([*shown, f"and {rest} more"] if rest else shown) or "-"
