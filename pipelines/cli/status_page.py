"""Renders `airworthy status`: all data and models on one screen of 80 columns, or all that is known of one model."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from pipelines.cli.dataset_page import MAX_SHOWN_COUNTS, counts_text, plain_table, render_dataset
from pipelines.cli.terminal_text import markup
from pipelines.cli.view_page import render_view
from pipelines.cli.worth_lines import worth_lines
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.spec.model import CLASSIFICATION_METRICS, REGRESSION_METRICS

SHOWN_METRICS = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}
STATE_COLOURS = {"fine": "green", "watch": "yellow", "act": "red", "not measured": "yellow"}
MAX_VERSIONS, MAX_REASONS, MAX_HISTORY = 3, 2, 2
"""Most versions of a model, and reasons and former verdicts of a check, on the screen of all models."""


def render_summary(summary: dict[str, Any], now: datetime | None = None) -> Iterator[Any]:
    """All data and models, in the order of their life cycle; of what passed only the numbers. Ages count up to ``now``.

    It fits a terminal of 80 columns; `airworthy status` with the name of a dataset or model has the rest.
    """
    now = now or datetime.now(UTC)
    for name, sources in summary["datasets"].items():
        yield from render_dataset(name, sources)
    for name, view in summary["views"].items():
        yield from render_view(name, view)
    for name, model in summary["models"].items():
        yield _version_table(name, model)
        yield from _failed_gate_lines(model)
        yield from _model_lines(name, model, now, reasons=MAX_REASONS, history=MAX_HISTORY)
    yield from _fault_lines(summary)


def render_model(name: str, summary: dict[str, Any], now: datetime | None = None) -> Iterator[Any]:
    """All that is known of one model: every version with its metrics and gates, then its lines in full."""
    now, model = now or datetime.now(UTC), summary["models"][name]
    yield f"[bold]Model: {markup(name)}[/bold]"
    for version in model["versions"]:
        yield from _version_lines(version, model)
    yield from _model_lines(name, model, now)
    if model["worth"] is not None:
        yield from worth_lines(model["worth"])
    yield from _fault_lines(summary)


def _fault_lines(summary: dict[str, Any]) -> Iterator[str]:
    for name, why in summary["refused"].items():
        yield f"[red]{markup(name)} is left out:[/red] {markup(why)}"
    for what, why in summary["unreachable"].items():
        yield f"[yellow]{markup(what)} did not answer:[/yellow] {markup(why)}"


def _version_table(name: str, model: dict[str, Any]) -> Table:
    table = plain_table(f"Model: {name}")
    for heading in ("version", "status", "alias", f"test {model['metric']}" if model["metric"] else "test", "gates"):
        table.add_column(markup(heading), no_wrap=True)
    shown = _shown_versions(model)
    for version in shown:
        own = version["metrics"].get(f"test_{model['metric']}")
        table.add_row(
            markup(_version_name(version)),
            markup((version["status"] or "-").replace("_", " ")),
            markup(", ".join(version["aliases"]) or "-"),
            "-" if own is None else f"{own:.4f}",
            _gates_text([gate for gate in model["gates"] if gate["version"] == version["version"]]),
        )
    if older := len(model["versions"]) - len(shown):
        table.add_row(f"and {older} older")
    return table


def _shown_versions(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The newest versions, and older ones that an alias names."""
    return [version for number, version in enumerate(model["versions"]) if number < MAX_VERSIONS or version["aliases"]]


def _version_name(version: dict[str, Any]) -> str:
    return f"{version['version']} ({version['semantic']})" if version["semantic"] else str(version["version"])


def _gates_text(gates: list[dict[str, Any]]) -> str:
    """``6/6 ✓``, or ``5/6``: in red if a gate says no; else the others have not measured yet."""
    if not gates:
        return "-"
    outcomes = [gate["outcome"] for gate in gates]
    passed, count = outcomes.count("pass"), len({*REQUIRED_GATES, *(gate["gate"] for gate in gates)})
    if passed == count:
        return f"[green]{passed}/{count} ✓[/green]"
    return f"[{COLOURS['fail' if 'fail' in outcomes else 'unknown']}]{passed}/{count}[/]"


def _failed_gate_lines(model: dict[str, Any]) -> Iterator[str]:
    """The gates that the shown versions did not pass, each with its first reason."""
    for version in _shown_versions(model):
        for gate in model["gates"]:
            if gate["version"] == version["version"] and gate["outcome"] != "pass":
                reason = f": {gate['reasons'][0]}" if gate["reasons"] else ""
                named = f"  version {version['version']}, {gate['gate']}: "
                yield f"{markup(named)}{_outcome_text(gate['outcome'])}{markup(reason)}"


def _version_lines(version: dict[str, Any], model: dict[str, Any]) -> Iterator[str]:
    """One version: its state and aliases, its test metrics, and every gate."""
    named = [(version["status"] or "no status").replace("_", " "), *version["aliases"]]
    yield f"  [bold]version {markup(_version_name(version))}[/bold]: {markup(', '.join(named))}"
    metrics = version["metrics"]
    shown = [f"{name} {metrics[f'test_{name}']:.4f}" for name in SHOWN_METRICS if f"test_{name}" in metrics]
    if shown:
        yield f"    test: {', '.join(shown)}"
    for gate in model["gates"]:
        if gate["version"] == version["version"]:
            yield f"    {markup(str(gate['gate']))}: {_outcome_text(gate['outcome'])}"
            yield from (f"      - {markup(reason)}" for reason in gate["reasons"])


def _model_lines(
    name: str, model: dict[str, Any], now: datetime, *, reasons: int = MAX_SHOWN_COUNTS, history: int = MAX_SHOWN_COUNTS
) -> Iterator[str]:
    """Lines on what serves, rolls out, is monitored and was requested; at most so many ``reasons`` and ``history``."""
    live = model["live"]
    if not model["declared"]:
        yield f"  [red]no valid declaration:[/red] nothing trains, evaluates or monitors {markup(name)}"
    if live and live["version"]:
        previous = f", previous {markup(live['previous'])}" if live["previous"] else ""
        yield f"  live: version [bold]{markup(live['version'])}[/bold]{previous} ({_workers_text(live['workers'])})"
    else:
        recorded = f"; by the ledger version {markup(model['recorded'])}" if model["recorded"] else ""
        yield "  live: nothing" if live else f"  live: not known, the endpoint did not answer{recorded}"
    if live and live["log_set_aside"]:
        yield (
            f"  [red]prediction log: {live['log_set_aside']:,} records cannot be converted[/red]; they are kept in the"
            " gateway's state folder, under wal/set_aside"
        )
    yield from _rollback_lines(model)
    if rollout := model["rollout"]:
        rollback_reasons = {version["reason"] for version in _taken_back(model)}
        yield f"  rollout {markup(rollout['rollout_id'])}: {_rollout_text(rollout, rollback_reasons)}"
    for incident in model["incidents"]:
        taken = f", taken by {incident['acknowledged_by']}" if incident["acknowledged_by"] else ""
        text = f"{incident['number']} ({incident['severity']}{taken}): {incident['what']}"
        yield f"  [red]incident[/red] {markup(text)}"
    yield from (f"  [red]disagreement:[/red] {markup(text)}" for text in model["disagreements"])
    if tags := model["outdated_tags"]:
        versions = f"version{'s' if len(tags) > 1 else ''} {', '.join(tags)}"
        hint = markup(f"airworthy reconcile {name} --apply")
        yield f"  [yellow]the status tag of {markup(versions)} is outdated in the registry:[/yellow] {hint}"
    if not model["monitoring"]:
        yield f"  monitoring: no day {'of the live version ' if model['history'] else ''}was checked yet"
    if model["monitoring"]:
        state = model["state"]
        colour = STATE_COLOURS[state["name"]]
        why = f": {markup('; '.join(state['reasons']))}" if state["reasons"] else ""
        yield f"  [{colour}]{state['name']}[/{colour}]{why}"
    for check, verdict in model["monitoring"].items():
        measured = markup(f"version {verdict['version']}{_window_text(verdict)}, {_age(verdict['at'], now)}")
        days = f"{verdict['days']} day{'s' if verdict['days'] != 1 else ''} judged"
        yield f"  {markup(check)} of {markup(verdict['day'])}: {_outcome_text(verdict['outcome'])} ({measured}; {days})"
        yield from (f"    - {markup(reason)}" for reason in verdict["reasons"][:reasons])
        if len(verdict["reasons"]) > reasons:
            yield f"    - and {len(verdict['reasons']) - reasons} more"
    if former := model["history"]:
        shown = [
            f"{each['check']} {str(each['outcome']).upper()} of {each['day']} (version {each['version']},"
            f" {_age(each['at'], now)})"
            for each in former[-history:]
        ]
        yield f"  history, of versions that are not live: {markup('; '.join(shown))}"
    if model["broken"]:
        yield f"  [red]columns that broke (days):[/red] {counts_text(model['broken'], reasons + 1)}"
    if model["drifted"]:
        yield f"  drifted (days): {counts_text(model['drifted'], reasons + 1)}"
    for request in model["retrain_requests"]:
        yield f"  retraining requested on {markup(request['day'])}: {markup('; '.join(request['reasons']))}"


def _workers_text(count: int) -> str:
    return f"{count} worker{'s' if count != 1 else ''}"


def _rollback_lines(model: dict[str, Any]) -> Iterator[str]:
    """The versions that were taken back, and what the next rollback would do."""
    for version in _taken_back(model):
        since = f"{datetime.fromisoformat(version['since']):%Y-%m-%d %H:%M} UTC"
        what = f"version {version['version']}: {version['status'].replace('_', ' ')} {since} by {version['by']}"
        yield f"  {markup(what)}: {markup(version['reason'] or 'no reason was given')}"
    if planned := model["next_rollback"]:
        taken = f"version {planned['taken_back']}" if planned["taken_back"] else "the rollout"
        yield markup(f"  a rollback now: takes {taken} back, version {planned['answers_next']} answers next")
        for back in planned["earlier_rollbacks"]:
            at = f"{datetime.fromisoformat(back['at']):%Y-%m-%d %H:%M} UTC"
            why = f"version {planned['answers_next']} was itself taken back {at} by {back['by']}: {back['reason']}"
            yield f"    [yellow]{markup(why)}[/yellow]"


def _taken_back(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The newest versions that were taken back, each with its reason."""
    states = ("rolled_back", "failed_before_traffic")
    newest = model["versions"][:MAX_SHOWN_COUNTS]
    return [version for version in newest if version["status"] in states and version["since"]]


def _rollout_text(rollout: dict[str, Any], told: Collection[str]) -> str:
    """``told``: reasons that a line above has given already."""
    share = rollout["split"].get(str(rollout["candidate"]), 0) / 100
    serves = f": version {rollout['version']}" if rollout["version"] else ""
    serves += f" at {share:g} % of the traffic" if rollout["candidate"] else ""
    why = f" ({rollout['reason']})" if rollout["reason"] and rollout["reason"] not in told else ""
    return markup(f"{rollout['phase']}{serves}{why}")


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
    return f"[{colour}]{markup(str(outcome).upper())}[/{colour}]"
