"""`airworthy adopt FILE…` drafts the declarations of files, and asks for what nobody can know from a file.

What it writes passes `airworthy check`, and reads these files whole; it overwrites nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.named_file import read_named_file
from pipelines.cli.progress import TEXT_WIDTH, open_console
from pipelines.cli.terminal_text import print_text, visible
from pipelines.errors import Refused
from pipelines.ports import Ports
from pipelines.spec.catalog import FOLDERS, Catalog
from pipelines.spec.durations import parse_duration

if TYPE_CHECKING:
    from pipelines.steps.drafting.draft import Draft
    from pipelines.steps.drafting.question import FutureQuestion
    from pipelines.steps.drafting.table_guess import TableGuess

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""Of a source."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("adopt", help="draft the declarations of files of data", description=__doc__)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="those whose rows are asked about first; SOURCE=FILE names a source"
    )
    parser.add_argument(
        "--predict",
        metavar="QUESTION",
        help='a column, a condition of a row, or "COUNT(orders.*, 0, 30d) > 0 FOR EACH customers.id"',
    )
    parser.add_argument("--name", help="of the dataset; else that of the first file")
    parser.add_argument("--lead", default="0m", help="how long before its event a row is asked about, as in 2h")
    parser.add_argument("--timezone", default="UTC", help="of times without a zone, and of the days of the dataset")
    parser.add_argument("--key", metavar="COLUMNS", help="what tells rows of the first file apart, as in order_id,line")
    parser.add_argument("--event-time", metavar="COLUMN", help="when the events of the first file happened")
    parser.add_argument("--columns", metavar="NAMES", help="of the first file, if it has no header")
    parser.add_argument("--json", action="store_true", help="files and questions as JSON, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Write the drafts and print the questions; 0. ``Refused`` before anything is written."""
    from pipelines.steps.drafting.question import read_question
    from pipelines.steps.drafting.table_guess import identifier

    lead = _lead(options.lead)
    _check_timezone(options.timezone)
    question = read_question(options.predict) if options.predict is not None else None
    sources = [_named_file(text) for text in options.files]
    paths = [path for _, path in sources]
    name = options.name or sources[0][0] or identifier(paths[0].name.partition(".")[0])
    if name != identifier(name):
        raise Refused(f"{name!r} is no name of a dataset; write it as in {identifier(name)}")
    tables = _tables(sources, options, question)
    today = ports.clock().astimezone(ZoneInfo(options.timezone)).date()
    draft = _draft(name, tables, question, lead, today)
    include = ports.settings.include
    _check_new([include / file for file in draft.texts])
    _check_drafts(draft, tables)
    for file, text in draft.texts.items():
        path = include / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    if options.json:
        print(json.dumps(_facts(draft, include)))
    else:
        for line in _lines(draft, tables, paths, include):
            print_text(line)
    return 0


def _draft(
    name: str, tables: Sequence[TableGuess], question: FutureQuestion | str | None, lead: timedelta, today: Any
) -> Draft:
    from pipelines.steps.drafting.draft import draft

    return draft(name, tables, question, lead=lead, today=today)


def _lead(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Refused(f"--lead {text}: {error}") from error


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Refused(f"--timezone {name} is unknown; use a name such as America/New_York") from error


def _named_file(text: str) -> tuple[str, Path]:
    """``orders=data/o.csv`` names the source of a file; of a path alone the name is empty."""
    name, sign, path = text.partition("=")
    is_named = sign and path and NAME.fullmatch(name) and not Path(text).exists()
    return (name, Path(path)) if is_named else ("", Path(text))


def _tables(
    sources: Sequence[tuple[str, Path]], options: argparse.Namespace, question: FutureQuestion | str | None
) -> list[TableGuess]:
    from pipelines.spec.row_expression import columns_of, parsed
    from pipelines.steps.drafting.table_guess import guess_table

    outcomes: list[str] = []
    if isinstance(question, str):
        try:
            outcomes = columns_of(parsed(question))
        except ValueError:  # a column whose name is no word
            outcomes = [question]
    tables: list[TableGuess] = []
    for source, path in sources:
        first = not tables
        tables.append(
            guess_table(
                path.name,
                read_named_file(path),
                timezone=options.timezone,
                source=source,
                names=_listed(options.columns) if first else (),
                key=_listed(options.key) if first else (),
                event_time=options.event_time if first else None,
                outcomes=outcomes if first else (),
            )
        )
    names = [table.source for table in tables]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise Refused(f"several files would be the source {', '.join(repeated)}; give each a name of its own")
    return tables


def _listed(names: str | None) -> list[str]:
    return [] if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _check_new(paths: Sequence[Path]) -> None:
    if existing := [str(path) for path in paths if path.exists()]:
        raise Refused("a draft overwrites nothing; remove the files, or choose another --name", existing)


def _check_drafts(draft: Draft, tables: Sequence[TableGuess]) -> None:
    """``Refused`` for a draft that `check` would refuse, or whose contract refuses the file it was made from."""
    from pipelines.steps.drafting.drafted_contract import contract_faults

    with tempfile.TemporaryDirectory() as folder:
        for kind in FOLDERS.values():
            (Path(folder) / kind).mkdir()
        for file, text in draft.texts.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        catalog = Catalog.read(Path(folder))
    faults = [
        f"{file}: {reason}" for file, error in catalog.refused.items() for reason in error.reasons or [error.subject]
    ]
    if not faults:
        faults = contract_faults(catalog.dataset(draft.dataset), tables)
    if faults:
        raise Refused("no declaration could be drafted that reads these files; nothing was written", faults)


def _facts(draft: Draft, include: Path) -> dict[str, Any]:
    questions = [{"file": f"{include}/{file}", "line": line, "question": text} for file, line, text in draft.questions]
    return {
        "dataset": draft.dataset,
        "view": draft.view,
        "model": draft.model,
        "files": [f"{include}/{file}" for file in draft.texts],
        "questions": questions,
    }


def _lines(draft: Draft, tables: Sequence[TableGuess], paths: Sequence[Path], include: Path) -> list[str]:
    width = open_console(TEXT_WIDTH).width
    lines = []
    for table in tables:
        key = f"key {', '.join(table.key)}" if table.key else "no key"
        time = f"by {table.event_time}" if table.event_time else "without a time"
        lines.append(
            hanging_lines(
                f"{table.source}: ", f"{table.rows:,} rows, {len(table.columns)} columns, {key}, {time}", width
            )
        )
    for file, text in draft.texts.items():
        written = sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())
        lines.append(f"wrote {include}/{file} ({written} lines)")
    lines.append(f"{len(draft.questions)} question(s), to answer by editing the files:")
    for file in dict.fromkeys(file for file, _, _ in draft.questions):
        lines.append(f"  {file}")
        for place, line, text in draft.questions:
            if place == file:
                lines.append(hanging_lines(f"    {'' if line is None else f'line {line}: '}", text, width))
    checked = draft.model or draft.dataset
    lines.append(f"then: airworthy check {checked}")
    if draft.model:
        lines.append(f"      airworthy try {draft.model} {' '.join(map(str, paths))}")
    return [visible(line) for line in lines]
