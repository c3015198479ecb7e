"""`airworthy ask MODEL FILE` asks the live version about the rows of a file, and says what is wrong with them.

The file has one JSON object of feature values, a list of them, or JSON lines; `-` is the standard input. A row is
logged like any other, with its id. With `--version` a registered version answers, live or not, in this process; its
files are verified, and nothing is logged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.names import check_version
from pipelines.cli.progress import TEXT_WIDTH, open_console
from pipelines.cli.terminal_text import print_text
from pipelines.errors import EXIT_REFUSED, Refused
from pipelines.ports import Ports
from pipelines.spec.column_categories import column_categories
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import Feature, FeatureView
from pipelines.versions.recorded_digests import recorded_digests

if TYPE_CHECKING:
    from pipelines.steps.models.registered_model import LoadedModel

ID_FIELD = "id"
"""Field of a row that is its id in the prediction log, unless a feature is called so."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("ask", help="ask the live version about rows of JSON", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file", help="JSON of feature values by their names; - is the standard input")
    parser.add_argument("--version", help="one that is registered, as in 4; it answers here, and nothing is logged")
    parser.add_argument("--check", action="store_true", help="say what is wrong with the rows, and ask nobody")
    parser.add_argument("--json", action="store_true", help="the answers as JSON, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print an answer and the faults of each row; 0 if no row has a fault, else 65."""
    spec, view = ports.catalog.model(options.model), ports.catalog.view_of(options.model)
    rows = read_rows(_text(options.file))
    names = [name for name in view.features if name in (spec.training.features or view.features)]
    registered = None
    if options.version is not None:
        registered = _registered_model(options.model, options.version, ports)
        names = registered.features
    features = {name: view.features[name] for name in names if name in view.features}
    categories = _declared_categories(features, view, ports.catalog.dataset_of(options.model))
    faults = [row_faults(row, names, features, categories) for row in rows]
    answers: list[float] = []
    version = None
    if not options.check:
        try:
            if registered is not None:
                answers, version = registered_answers(registered, rows), options.version
            else:
                answers, version = _live_answers(options.model, names, rows, ports)
        except Refused as error:
            row_texts = [f"row {number}: {fault}" for number, texts in enumerate(faults, 1) for fault in texts]
            raise Refused(error.subject, [*error.reasons, *row_texts]) from error
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


def row_faults(
    row: Mapping[str, Any],
    names: Sequence[str],
    features: Mapping[str, Feature],
    categories: Mapping[str, Sequence[str]],
) -> list[str]:
    """What the view says against the values of a row: names, kinds, limits, and features that it lacks.

    ``names``: of the model's features; ``features``: those that are declared now. ``categories``: all that a text may
    be, of the features where that is declared.
    """
    unknown = [name for name in row if name not in names and name != ID_FIELD]
    faults = [f"{name!r} is no feature of the model; it has {', '.join(names)}" for name in unknown]
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
            elif (numbers := feature.allowed_values()) is not None and value not in numbers:
                faults.append(f"{name} {value:g} is not allowed; it is one of {', '.join(f'{n:g}' for n in numbers)}")
        elif not isinstance(value, str):
            faults.append(f"{name} is {value!r}, and the feature is a text")
        elif name in categories and value not in categories[name]:
            faults.append(f"{name} {value!r} is not allowed; it is one of {', '.join(categories[name])}")
    return faults


def registered_answers(model: LoadedModel, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """One per row. ``Refused`` for a value that is no number where the model takes one, or no text."""
    import polars as pl

    types = {each.name: pl.String if each.type == "categorical" else pl.Float64 for each in model.inputs}
    try:
        frame = pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise Refused("a value has not the type that the model takes; nobody was asked") from error
    return [float(answer) for answer in model.predict(frame)]


def _live_answers(
    model: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]], ports: Ports
) -> tuple[list[float], str | None]:
    """One answer per row, and the version that gave them."""
    ids = [str(row[ID_FIELD]) for row in rows if ID_FIELD in row and ID_FIELD not in names]
    values = [[row.get(name) for name in names] for row in rows]
    answers = ports.endpoint.predict(model, names, values, ids=ids if len(ids) == len(rows) else None)
    return answers, ports.endpoint.state(model).version


def _registered_model(model: str, version: str, ports: Ports) -> LoadedModel:
    """``Refused`` for a version that there is not, or whose files were altered since it was trained."""
    from pipelines.steps.models.registered_model import load_model

    check_version(model, version, ports)
    return load_model(ports.registry.get(model, version), ports, recorded_digests(model, version, ports))


def _declared_categories(
    features: Mapping[str, Feature], view: FeatureView, dataset: DatasetSpec
) -> dict[str, list[str]]:
    """Feature to all that its text may be, by the view or by the contract of its column; those that are declared."""
    declared: dict[str, list[str]] = {}
    for name, feature in features.items():
        if feature.type == "categorical":
            values = feature.allowed_values() or column_categories(feature.transformation, view, dataset)
            declared |= {} if values is None else {name: [str(value) for value in values]}
    return declared


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
