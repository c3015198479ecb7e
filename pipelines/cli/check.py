"""`airworthy check [name]` reads every declaration as Airflow would, and names every fault with file and line."""

from __future__ import annotations

import argparse
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from pipelines.cli.terminal_text import print_line, print_text
from pipelines.errors import EXIT_REFUSED, Refused, unknown_name
from pipelines.ports import Ports
from pipelines.spec.catalog import ALERTS_FILE, FOLDERS, Catalog, read_declaration
from pipelines.spec.gateway import GatewaySpec
from pipelines.spec.plain_yaml import load, split_line, with_lines

NUMBER = re.compile(r"^expectation (\d+) ")
GATEWAY_FILE = "gateway.yaml"
KINDS = {"datasets": "dataset", "suites": "suite", "views": "view", "models": "model"}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("check", help="check the declarations and say what to write", description=__doc__)
    parser.add_argument("name", nargs="?", help="a dataset, suite, view or model, with all that it rests on")
    parser.add_argument(
        "--sample",
        nargs="*",
        metavar="FILE",
        help="read these files of the named dataset by its contract, or build the rows of the named view or model; "
        "without FILE, of its newest deliveries",
    )
    parser.add_argument("--source", help="of which source the sample is, if its name does not say it")
    parser.add_argument("--json", action="store_true", help="a JSON object per fault, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print every fault, and what would be asked for later; 0 if there is no fault, else 65."""
    if options.sample is not None:
        return check_sample(options, ports)
    include = ports.settings.include
    catalog = ports.catalog
    refused = {**catalog.refused, **_suite_faults(catalog, include), **_gateway_faults(include)}
    files = [*_installation_files(options.name, include), *_files_of(options.name, include)]
    faults = [(file, reason) for file in files if file in refused for reason in _reasons(refused[file])]
    for file, reason in faults:
        line, text = split_line(reason)
        if options.json:
            print(json.dumps({"file": f"{include}/{file}", "line": line, "fault": text}))
        else:
            print_text(f"{include}/{file}{'' if line is None else f':{line}'}: {text}")
    for file, reason in _questions(files, catalog, include):
        line, text = split_line(reason)
        if options.json:
            print(json.dumps({"file": f"{include}/{file}", "line": line, "question": text}))
        else:
            print_text(f"{include}/{file}{'' if line is None else f':{line}'}: {text}")
    if not options.json:
        checked = ", ".join(f"{_count(files, folder)} {kind}(s)" for kind, folder in _folders().items())
        print_line(f"{len(faults)} fault(s) in {checked}" if faults else f"no fault in {checked}")
        if options.name in catalog.datasets and not faults:
            dags = ", ".join(f"{options.name}__{stage}" for stage in ("ingest", "arrive", "validate"))
            print_line(f"Airflow pauses new DAGs; unpause {dags}")
    return EXIT_REFUSED if faults else 0


def check_sample(options: argparse.Namespace, ports: Ports) -> int:
    """Print what the files are and every fault of them; of a view or model what its rows are."""
    from pipelines.cli.sample import named_sample, newest_samples, sample_lines
    from pipelines.cli.view_sample import check_view_sample

    if options.name is None:
        raise Refused("--sample needs the name of a dataset, view or model; write `check NAME --sample FILE`")
    if options.name not in ports.catalog.datasets and options.name in {*ports.catalog.views, *ports.catalog.models}:
        if options.source is not None:
            raise Refused("--source is of a dataset's file; of a view's files write SOURCE=FILE")
        return check_view_sample(options.name, options.sample, ports, as_json=options.json)
    spec = ports.catalog.dataset(options.name)
    samples: dict[str, dict[str, bytes]] = {}
    for path in options.sample:
        name, files = named_sample(spec, options.source, Path(path))
        samples.setdefault(name, {}).update(files)
    if not options.sample:
        samples = newest_samples(spec, options.source, ports.store, ports.clock())
    counted = 0
    for name, files in samples.items():
        lines, faults, questions = sample_lines(spec, name, files)
        counted += len(faults)
        notes = [*(("fault", text) for text in faults), *(("question", text) for text in questions)]
        if options.json:
            lines = [json.dumps({"source": name, kind: text}) for kind, text in notes]
        else:
            lines += [f"{kind}: {text}" for kind, text in notes]
        for line in lines:
            print_line(line)
    return EXIT_REFUSED if counted else 0


def _questions(files: list[str], catalog: Catalog, include: Path) -> list[tuple[str, str]]:
    """File and question of the declarations without a fault."""
    questions: list[tuple[str, str]] = []
    for file in files:
        texts = [f"{field}: is not declared; {question}" for field, question in catalog.questions.get(file, [])]
        questions += [(file, line) for line in with_lines((include / file).read_text(encoding="utf-8"), texts)]
    return questions


def _folders() -> dict[str, str]:
    """Kind in words to its folder."""
    return {KINDS[kind]: folder for kind, folder in FOLDERS.items()}


def _count(files: list[str], folder: str) -> int:
    return sum(file.startswith(f"{folder}/") for file in files)


def _installation_files(name: str | None, include: Path) -> list[str]:
    """Files of the whole installation. Rules of a dataset or model name channels, so it rests on their file."""
    declared = [ALERTS_FILE] if name is not None else [ALERTS_FILE, GATEWAY_FILE]
    return [file for file in declared if (include / file).exists()]


def _gateway_faults(include: Path) -> dict[str, Refused]:
    """Faults of the declaration; whether its secrets can be read is known where the gateway starts."""
    path = include / GATEWAY_FILE
    if path.exists():
        try:
            read_declaration(path, GatewaySpec)
        except Refused as error:
            return {GATEWAY_FILE: error}
    return {}


def _files_of(name: str | None, include: Path) -> list[str]:
    """The files to check, those first on which others rest. ``Refused`` for a name that no file has."""
    every = [
        f"{folder}/{path.name}" for folder in FOLDERS.values() for path in sorted((include / folder).glob("*.yaml"))
    ]
    if name is None:
        return every
    named = {file for file in every if Path(file).stem == name}
    if not named:
        raise unknown_name(f"nothing is called {name}", sorted({Path(file).stem for file in every}))
    rests_on = set(named)
    rests_on |= {
        f"{FOLDERS['views']}/{fields.get('view')}.yaml" for fields in _declared_fields(rests_on, "models", include)
    }
    for view in _declared_fields(rests_on, "views", include):
        rests_on |= {f"{FOLDERS['datasets']}/{name}.yaml" for name in _datasets_of(view, every, include)}
    for fields in _declared_fields(rests_on, "datasets", include):
        sources = fields.get("sources")
        for source in sources.values() if isinstance(sources, dict) else ():
            if isinstance(source, dict):
                rests_on.add(f"{FOLDERS['suites']}/{source.get('suite')}.yaml")
    return [file for file in every if file in rests_on]


def _datasets_of(view: dict[str, Any], every: list[str], include: Path) -> list[str]:
    """The dataset that the view names, or those that have the source of its rows."""
    if isinstance(view.get("dataset"), str):
        return [view["dataset"]]
    rows = view.get("rows")
    source = rows.get("per") if isinstance(rows, dict) else None
    declared = {file: _declared_fields({file}, "datasets", include) for file in every}
    return [
        Path(file).stem
        for file, contents in declared.items()
        for fields in contents
        if isinstance(sources := fields.get("sources"), dict) and source in sources
    ]


def _declared_fields(files: set[str], kind: str, include: Path) -> list[dict[str, Any]]:
    """The fields of the files of one kind, be they valid or not; without those that are no YAML."""
    declarations = []
    for file in sorted(files):
        path = include / file
        if file.startswith(f"{FOLDERS[kind]}/") and path.exists():
            with suppress(yaml.YAMLError, ValueError):
                declarations.append(load(path.read_text(encoding="utf-8")))
    return [fields for fields in declarations if isinstance(fields, dict)]


def _suite_faults(catalog: Catalog, include: Path) -> dict[str, Refused]:
    """Expectations that Great Expectations does not know, or whose arguments it refuses; it takes seconds to import."""
    if not catalog.suites:
        return {}
    from pipelines.steps.auditing.suite import read_suite

    refused = {}
    for name in catalog.suites:
        file = f"{FOLDERS['suites']}/{name}.yaml"
        try:
            read_suite(include / file)
        except Refused as error:
            places = [NUMBER.sub(lambda match: f"expectations.{int(match[1]) - 1}: ", text) for text in error.reasons]
            lines = with_lines((include / file).read_text(encoding="utf-8"), places)
            refused[file] = Refused(error.subject, lines)
    return refused


def _reasons(error: Refused) -> list[str]:
    return error.reasons or [error.subject]
