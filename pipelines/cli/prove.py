"""`airworthy prove` measures on seeded streams of a model's own rows how well it would be watched."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli import arguments
from pipelines.cli.names import check_model
from pipelines.cli.terminal_text import print_line
from pipelines.errors import Refused
from pipelines.ports import Ports

if TYPE_CHECKING:
    from pipelines.prove.proof import Outcome

STREAMS, DAYS, EVERY = 20, 364, 28
OUTCOMES_FILE, REPORT_FILE, PLOT_FILE = "streams.jsonl", "report.md", "delays.png"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "prove",
        help="simulate how well a model would be watched",
        description="Draws streams of the model's rows, plants harm in every second one, and watches them by the rules "
        "and steps of monitoring. What was measured stays in the folder; the same command goes on from there.",
    )
    parser.add_argument("model", help="model whose feature table and labels are in the store")
    parser.add_argument("--streams", type=arguments.count, default=STREAMS, help="streams in all (%(default)s)")
    parser.add_argument("--days", type=arguments.count, default=DAYS, help="days of a harmless year (%(default)s)")
    parser.add_argument(
        "--every", type=arguments.count, default=EVERY, help="days between the versions of the calendar (%(default)s)"
    )
    parser.add_argument("--seed", type=arguments.count, default=1, help="other streams for another seed (%(default)s)")
    parser.add_argument("--into", metavar="FOLDER", help="folder of the report (<home>/prove/<model>)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Watch the streams that the folder does not have yet; 1 if a goal is missed."""
    check_model(options.model, ports)
    from pipelines.prove.fleet import Fleet
    from pipelines.prove.ground import read_ground
    from pipelines.prove.plots import delays_plot
    from pipelines.prove.proof import Proof, prove
    from pipelines.prove.report import goal_lines, report_text

    folder = Path(options.into or ports.settings.home / "prove" / options.model)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / OUTCOMES_FILE
    head = f'{{"model":"{options.model}","seed":{options.seed},"days":{options.days},"every":{options.every}}}'
    outcomes = _read(file, head)
    ground = read_ground(options.model, ports)
    fleet = Fleet(
        ground, ports, lambda number: ground.rows_of(number, 0), lambda: print_line("a version is trained", flush=True)
    )
    proof = Proof(ground, fleet, options.seed, options.days, options.every)
    with file.open("a") as stored:
        for outcome in prove(proof, range(len(outcomes), options.streams)):
            outcomes.append(outcome)
            stored.write(outcome.model_dump_json() + "\n")
            stored.flush()
            print_line(f"{len(outcomes)} of {options.streams}: {_outcome_text(outcome)}", flush=True)
    (folder / PLOT_FILE).write_bytes(delays_plot(options.model, outcomes))
    (folder / REPORT_FILE).write_text(report_text(options.model, options.seed, options.days, outcomes))
    goals = list(goal_lines(outcomes))
    for line in [*goals, f"the tables are in {folder / REPORT_FILE}, the plot is {folder / PLOT_FILE}"]:
        print_line(line)
    return 1 if any(goal.startswith("MISSED") for goal in goals) else 0


def _read(file: Path, head: str) -> list[Outcome]:
    """The outcomes that an earlier run left, without a line that it did not end. ``Refused`` if of another seed."""
    from pipelines.prove.proof import Outcome

    text = file.read_text() if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole)
    lines = whole.splitlines()
    if not lines:
        file.write_text(head + "\n")
    elif lines[0] != head:
        raise Refused(f"{file} is of {lines[0]}, not of {head}; name another folder by --into")
    return [Outcome.model_validate_json(line) for line in lines[1:]]


def _outcome_text(outcome: Outcome) -> str:
    if not outcome.is_harmful:
        return f"{outcome.what}: {outcome.pages} pages, {outcome.warnings} warnings"
    delay = "not found" if outcome.found_after is None else f"found on day {outcome.found_after} by {outcome.by}"
    return f"{outcome.what} (costs {outcome.loss:.3f}): {delay}"
