"""`airworthy ask MODEL FILE` asks the live version about the rows of a file, and says what is wrong with them.

The file has one JSON object of feature values, a list of them, or JSON lines; `-` is the standard input. A row is
logged like any other, with its id.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.progress import TEXT_WIDTH, open_console
from pipelines.cli.terminal_text import print_text
from pipelines.errors import EXIT_REFUSED, Refused
from pipelines.ports import Ports
from pipelines.spec.features import Feature

ID_FIELD = "id"
"""Field of a row that is its id in the prediction log, unless a feature is called so."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("ask", help="ask the live version about rows of JSON", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file", help="JSON of feature values by their names; - is the standard input")
    parser.add_argument("--check", action="store_true", help="say what is wrong with the rows, and ask nobody")
    parser.add_argument("--json", action="store_true", help="the answers as JSON, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print an answer and the faults of each row; 0 if no row has a fault, else 65."""
    spec, view = ports.catalog.model(options.model), ports.catalog.view_of(options.model)
    rows = read_rows(_text(options.file))
    names = [name for name in view.features if name in (spec.training.features or view.features)]
    features = {name: view.features[name] for name in names}
    faults = [row_faults(row, features) for row in rows]
    answers: list[float] = []
    version = None
    if not options.check:
        ids = [str(row[ID_FIELD]) for row in rows if ID_FIELD in row and ID_FIELD not in features]
        values = [[row.get(name) for name in names] for row in rows]
        answers = ports.endpoint.predict(options.model, names, values, ids=ids if len(ids) == len(rows) else None)
        version = ports.endpoint.state(options.model).version
    if options.json:
        print(json.dumps({"model": options.model, "version": version, "answers": answers, "faults": faults}))
    else:
        width = open_console(TEXT_WIDTH).width
        for line in _lines(rows, faults, answers, version, spec.problem, width):
            print_text(line)
    return EXIT_REFUSED if any(faults) else 0


def read_rows(text: str) -> list[dict[str, Any]]:
    """The objects of one JSON value or of JSON lines. ``Refused`` for anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise Refused(f"the rows are no JSON: {error}") from error
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise Refused('the rows are no objects; write {"amount": 5, "channel": "web"}, or a list of such')
    return rows


def row_faults(row: Mapping[str, Any], features: Mapping[str, Feature]) -> list[str]:
    """What the view says against the values of a row: names, kinds, limits, and features that it lacks."""
    unknown = [name for name in row if name not in features and name != ID_FIELD]
    faults = [f"{name!r} is no feature of the model; it has {', '.join(features)}" for name in unknown]
    for name, feature in features.items():
        value, limits = row.get(name), feature.constraints
        if value is None:
            if limits.max_null_share == 0:
                faults.append(f"{name} lacks its value, which the view does not allow")
        elif feature.type == "numeric":
            if not isinstance(value, int | float):
                faults.append(f"{name} is {value!r}, and the feature is a number")
            elif limits.minimum is not None and value < limits.minimum:
                faults.append(f"{name} {value:g} < {limits.minimum:g}")
            elif limits.maximum is not None and value > limits.maximum:
                faults.append(f"{name} {value:g} > {limits.maximum:g}")
        elif not isinstance(value, str):
            faults.append(f"{name} is {value!r}, and the feature is a text")
    return faults


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {error}") from error


def _lines(
    rows: Sequence[Mapping[str, Any]],
    faults: Sequence[Sequence[str]],
    answers: Sequence[float],
    version: str | None,
    problem: str,
    width: int,
) -> list[str]:
    what = "probability" if problem == "classification" else "value"
    lines = []
    for number, row in enumerate(rows):
        name = f"row {number + 1}" if row.get(ID_FIELD) is None else str(row[ID_FIELD])
        answer = f"{what} {answers[number]:.4f} by version {version}" if answers else "not asked"
        lines.append(hanging_lines(f"{name}: ", answer, width))
        lines += [hanging_lines("  fault: ", fault, width) for fault in faults[number]]
    return lines
