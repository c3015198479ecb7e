"""Renders the summary of `airworthy status` as tables that fit a terminal; long lists end after six lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.spec.model import CLASSIFICATION_METRICS, REGRESSION_METRICS

SHOWN_METRICS = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}
MAX_SHOWN_COUNTS = 6
"""Most lines of a list; the rest is counted."""


def render_summary(summary: dict[str, Any], now: datetime | None = None) -> Iterator[Any]:
    """Tables and lines, in the order of a model's life cycle; ages count up to ``now``."""
    now = now or datetime.now(UTC)
    for name, sources in summary["datasets"].items():
        yield _dataset_table(name, sources)
    for name, model in summary["models"].items():
        yield _version_table(name, model)
        yield from _model_lines(name, model, now)
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
            (version["status"] or "-").replace("_", " "),
            ", ".join(version["aliases"]) or "-",
            "-" if own is None else f"{own:.4f}",
            ", ".join(f"{metric} {value:.4f}" for metric, value in metrics.items()),
            "\n".join(_gate_text(gate) for gate in model["gates"] if gate["version"] == version["version"]) or "-",
        )
    return table


def _gate_text(gate: dict[str, Any]) -> str:
    reasons = "".join(f"\n  {escape(reason)}" for reason in gate["reasons"])
    return f"{escape(str(gate['gate']))}: {_outcome_text(gate['outcome'])}{reasons}"


def _model_lines(name: str, model: dict[str, Any], now: datetime) -> Iterator[str]:
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
    yield from _rollback_lines(model)
    if rollout := model["rollout"]:
        yield f"  rollout {escape(rollout['rollout_id'])}: {_rollout_text(rollout)}"
    yield from (f"  [red]disagreement:[/red] {escape(text)}" for text in model["disagreements"])
    if tags := model["outdated_tags"]:
        versions = f"version{'s' if len(tags) > 1 else ''} {', '.join(tags)}"
        hint = f"airworthy reconcile {name} --apply"
        yield f"  [yellow]the status tag of {versions} is outdated in the registry:[/yellow] {hint}"
    if not model["monitoring"]:
        yield f"  monitoring: no day {'of the live version ' if model['history'] else ''}was checked yet"
    for check, verdict in model["monitoring"].items():
        measured = f"version {verdict['version']}{_window_text(verdict)}, {_age(verdict['at'], now)}"
        days = f"{model['checked_days']} day{'s' if model['checked_days'] != 1 else ''} checked"
        yield f"  {check} of {verdict['day']}: {_outcome_text(verdict['outcome'])} ({measured}; {days})"
        yield from (f"    - {escape(reason)}" for reason in verdict["reasons"][:MAX_SHOWN_COUNTS])
        if len(verdict["reasons"]) > MAX_SHOWN_COUNTS:
            yield f"    - and {len(verdict['reasons']) - MAX_SHOWN_COUNTS} more"
    if history := model["history"]:
        shown = [
            f"{each['check']} {str(each['outcome']).upper()} of {each['day']} (version {each['version']},"
            f" {_age(each['at'], now)})"
            for each in history[-MAX_SHOWN_COUNTS:]
        ]
        yield f"  history, of versions that are not live: {escape('; '.join(shown))}"
    if model["drifted"]:
        yield f"  drifted (days): {_counts_text(model['drifted'])}"
    for request in model["retrain_requests"]:
        yield f"  retraining requested on {request['day']}: {escape('; '.join(request['reasons']))}"


def _rollback_lines(model: dict[str, Any]) -> Iterator[str]:
    """The versions that were taken back, and what the next rollback would do."""
    for version in model["versions"][:MAX_SHOWN_COUNTS]:
        if version["status"] in ("rolled_back", "failed_before_traffic") and version["since"]:
            since = f"{datetime.fromisoformat(version['since']):%Y-%m-%d %H:%M} UTC"
            what = f"version {version['version']}: {version['status'].replace('_', ' ')} {since} by {version['by']}"
            yield f"  {escape(what)}: {escape(version['reason'] or 'no reason was given')}"
    if planned := model["next_rollback"]:
        taken = f"version {planned['taken_back']}" if planned["taken_back"] else "the rollout"
        yield f"  a rollback now: takes {taken} back, version {planned['answers_next']} answers next"
        for back in planned["earlier_rollbacks"]:
            at = f"{datetime.fromisoformat(back['at']):%Y-%m-%d %H:%M} UTC"
            why = f"version {planned['answers_next']} was itself taken back {at} by {back['by']}: {back['reason']}"
            yield f"    [yellow]{escape(why)}[/yellow]"


def _rollout_text(rollout: dict[str, Any]) -> str:
    share = rollout["split"].get(str(rollout["candidate"]), 0) / 100
    serves = f": version {rollout['version']}" if rollout["version"] else ""
    serves += f" at {share:g} % of the traffic" if rollout["candidate"] else ""
    why = f" ({escape(rollout['reason'])})" if rollout["reason"] else ""
    return f"{rollout['phase']}{serves}{why}"


def _window_text(verdict: dict[str, Any]) -> str:
    return f", days {verdict['window'][0]} to {verdict['window'][-1]}" if verdict["window"] else ""


def _age(at: str, now: datetime) -> str:
    """``measured 3 hours ago``: in the largest unit of which there are at least two."""
    seconds = (now - datetime.fromisoformat(at)).total_seconds()
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"measured {seconds / size:.0f} {unit} ago"
    return "measured just now"


def _outcome_text(outcome: Any) -> str:
    colour = COLOURS.get(str(outcome), "white")
    return f"[{colour}]{str(outcome).upper()}[/{colour}]"


def _counts_text(counts: dict[str, int]) -> str:
    shown = [f"{escape(name)} {count:,}" for name, count in list(counts.items())[:MAX_SHOWN_COUNTS]]
    rest = len(counts) - len(shown)
    return ", ".join([*shown, f"and {rest} more"] if rest else shown) or "-"
