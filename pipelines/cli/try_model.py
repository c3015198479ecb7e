"""`airworthy try MODEL FILE…` takes files from landing to the gates in seconds, without Airflow, and writes nothing.

Without a file it takes what the installation's sources have landed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import store_paths
from pipelines.cli.arguments import last_moment
from pipelines.cli.named_file import read_named_file
from pipelines.cli.progress import TEXT_WIDTH, open_console
from pipelines.cli.terminal_text import print_text
from pipelines.cli.trial import Landing, run_trial, scratch_ports
from pipelines.cli.trial_page import trial_lines
from pipelines.errors import EXIT_REFUSED, Refused
from pipelines.ports import Ports, Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.plain_yaml import load
from pipelines.store_paths import MANIFEST

END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""By then every label is known that the files tell."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "try", help="take files to the gates in seconds, without Airflow", description=__doc__
    )
    parser.add_argument("model")
    parser.add_argument("files", nargs="*", metavar="FILE", help="of its sources; SOURCE=FILE says of which")
    parser.add_argument("--as-of", type=last_moment, help="train on the labels known then; else on all of the files")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the model for this trial, as in training.estimator.rounds=50",
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON, for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print what happened; 0 if nothing would be refused, else 65."""
    changes = dict(_change(text) for text in options.set)
    with scratch_ports(ports, options.model, changes) as scratch:
        dataset = scratch.catalog.dataset_of(options.model)
        landings = _landings_of_files(dataset, options.files) if options.files else _landed(dataset, ports.store)
        trial = run_trial(options.model, landings, scratch, as_of=options.as_of or END_OF_TIME)
        spec, view = scratch.catalog.model(options.model), scratch.catalog.view_of(options.model)
        if options.json:
            print(json.dumps(trial.facts()))
        else:
            width = open_console(TEXT_WIDTH).width
            for line in trial_lines(trial, spec, view, width):
                print_text(line)
    return EXIT_REFUSED if trial.refused else 0


def _change(text: str) -> tuple[str, Any]:
    place, sign, value = text.partition("=")
    if not sign or not place.strip():
        raise Refused(f"--set {text} sets nothing; write a field and its value, as in training.seed=7")
    return place.strip(), load(value)


def _landings_of_files(dataset: DatasetSpec, names: list[str]) -> dict[str, Landing]:
    """Each file's rows in the partitions of their times; a copy of a reference, and a table without dates, whole."""
    from pipelines.steps.ingestion.delivered_file import read_file
    from pipelines.steps.ingestion.file_split import split_file

    landings: dict[str, dict[str, dict[str, tuple[bytes, int]]]] = {}
    whole: list[tuple[str, str, bytes, int]] = []
    faults = []
    for text in names:
        name, path = _named(dataset, text)
        file, content = path.name, read_named_file(path)
        declared = dataset.sources[name]
        landed_as = file if declared.files.has(file) else declared.files.name.replace("*", "try")
        if declared.cadence == "reference" or dataset.partition.every == "once" or declared.row_time is None:
            rows = read_file(file, content, declared.files, list(declared.columns))
            faults += [f"{file}: {failure}" for failure in rows.failures]
            whole.append((name, landed_as, content, rows.rows.height if rows.rows is not None else 0))
            continue
        parts, broken = split_file(file, content, declared, dataset.partition_calendar)
        faults += [f"{file}: {fault}" for fault in broken]
        for key, part in parts.items():
            landings.setdefault(name, {}).setdefault(key, {})[landed_as] = (part.content, part.rows)
    if faults:
        raise Refused("the files cannot be taken apart by their days; nothing was tried", faults)
    keys = sorted(key for parts in landings.values() for key in parts)
    for name, landed_as, content, rows_of_file in whole:
        landings.setdefault(name, {}).setdefault(keys[0] if keys else "all", {})[landed_as] = (content, rows_of_file)
    missing = [name for name in dataset.sources if name not in landings]
    if missing:
        raise Refused(f"no file of {', '.join(missing)}: name one of each source, or none to take what has landed")
    return landings  # type: ignore[return-value]


def _named(dataset: DatasetSpec, text: str) -> tuple[str, Path]:
    """The source that is written before the path, or that has the file's name, or whose files may have it."""
    from pipelines.steps.drafting.table_guess import identifier

    source, sign, path = text.partition("=")
    if sign and source in dataset.sources:
        return source, Path(path)
    stem = identifier(Path(text).name.partition(".")[0])
    if stem in dataset.sources:
        return stem, Path(text)
    possible = [name for name, declared in dataset.sources.items() if declared.files.has(Path(text).name)]
    if len(possible) != 1:
        sources = ", ".join(dataset.sources)
        raise Refused(f"{text} may be of any of {sources}; say of which, as in {next(iter(dataset.sources))}={text}")
    return possible[0], Path(text)


def _landed(dataset: DatasetSpec, store: Store) -> dict[str, Landing]:
    """What the sources have delivered: it is read, and not written."""
    from pipelines.messages.delivery import DeliveryManifest

    landings: dict[str, dict[str, Mapping[str, tuple[bytes, int]]]] = {}
    for name in dataset.sources:
        for path in store.list(store_paths.landing_of(dataset.dataset, name)):
            key = store_paths.delivered_partition(path)
            if key is None or not path.endswith(f"/{MANIFEST}"):
                continue
            manifest = DeliveryManifest.read(store.get(path))
            landings.setdefault(name, {})[key] = {
                file.name: (store.get(store_paths.landing(dataset.dataset, name, key, file.name)), file.rows or 0)
                for file in manifest.files
            }
    if missing := [name for name in dataset.sources if name not in landings]:
        raise Refused(f"nothing of {', '.join(missing)} of {dataset.dataset} has landed; name a file of each source")
    return landings  # type: ignore[return-value]
