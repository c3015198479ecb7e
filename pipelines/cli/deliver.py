"""`airworthy deliver <dataset> <source> <partition> FILE…` lands files and what completes them, as sources do.

A source of a database needs no file: its table is read for the partition, again if it was read before.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.cli.dataset_page import span_text
from pipelines.cli.dataset_status import delivered_partitions
from pipelines.cli.named_file import read_named_file
from pipelines.cli.names import dataset_of, source_of
from pipelines.cli.terminal_text import print_line
from pipelines.errors import Refused
from pipelines.messages.ingestion import ExtractRequest
from pipelines.ports import Ports, Store
from pipelines.settings import make_private_folder
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.durations import written_duration
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion.written_delivery import write_delivery


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("deliver", help="land files of a source completely", description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("source", help="for example purchases")
    parser.add_argument(
        "items",
        nargs="+",
        metavar="PARTITION-OR-FILE",
        help="one partition, then its files; with --split one file alone",
    )
    parser.add_argument(
        "--split", action="store_true", help="one file of many partitions: by the event time of each row"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Land the files and print what was landed."""
    if Path(ports.settings.store).is_relative_to(ports.settings.home):  # no stack may have been started yet
        make_private_folder(ports.settings.home)
    spec = dataset_of(options.dataset, ports)
    source = source_of(spec, options.source)
    earlier = delivered_partitions(spec, options.source, ports.store, ports.clock())
    if source.sql is not None:
        if options.split or len(options.items) > 1:
            raise Refused(f"{options.source} is read from a database; name one partition, and no file")
        counts = _extract(spec, options.source, options.items[0], ports)
    elif options.split:
        if len(options.items) != 1:
            raise Refused("--split takes one file, and no partition: each row says its own")
        counts = split_and_deliver(spec, options.source, Path(options.items[0]), ports.store)
    else:
        partition, *paths = options.items
        if not paths:
            raise Refused(
                f"no file was named for {partition}; write `deliver {spec.dataset} {options.source} {partition} FILE`"
            )
        contents = {Path(path).name: read_named_file(Path(path)) for path in paths}
        manifest = write_delivery(spec, options.source, partition, _counted(contents, source), ports.store)
        counts = {partition: manifest.rows}
    print_line(f"landed {len(counts)} partition(s) of {options.source} with {sum(counts.values()):,} rows")
    if quiet := source.files.complete.quiet:
        print_line(f"complete when no file was written for {written_duration(quiet)}")
    if replaced := sorted(earlier & set(counts)):
        print_line(f"{len(replaced)} of them replaced what was delivered before: {span_text(replaced)}")
    return 0


def split_and_deliver(spec: DatasetSpec, name: str, path: Path, store: Store) -> dict[str, int]:
    """Land the rows of one file in the partitions of their event times; returns the rows of each partition.

    Raises ``Refused`` with every fault before anything is landed.
    """
    from pipelines.steps.ingestion.file_split import split_file

    source = spec.sources[name]
    landed_name = _landed_name(path.name, source)
    faults = _name_faults([landed_name], source)
    parts, split_faults = split_file(path.name, read_named_file(path), source, spec.partition_calendar)
    if faults or split_faults:
        raise Refused(f"{path} cannot be split; nothing was landed", [*faults, *split_faults])
    return {
        key: write_delivery(spec, name, key, {landed_name: (part.content, part.rows)}, store).rows
        for key, part in parts.items()
    }


def _extract(spec: DatasetSpec, source: str, partition: str, ports: Ports) -> dict[str, int]:
    from pipelines.steps import extract_partition

    request = ExtractRequest(dataset=spec.dataset, partition=partition, sources=[source])
    return {partition: extract_partition.run(request, ports).rows[source]}


def _counted(contents: Mapping[str, bytes], source: SourceSpec) -> dict[str, tuple[bytes, int]]:
    """Each file with its number of rows. Raises ``Refused`` with every fault of every file."""
    from pipelines.steps.ingestion.delivered_file import read_file

    faults = _name_faults(contents, source)
    counted: dict[str, tuple[bytes, int]] = {}
    for name, content in contents.items():
        file = read_file(name, content, source.files, list(source.columns))
        faults += [f"{name}: {failure}" for failure in file.failures]
        counted[name] = (content, 0 if file.rows is None else file.rows.height)
    if faults:
        raise Refused("nothing was landed; correct the files", faults)
    return counted


def _landed_name(name: str, source: SourceSpec) -> str:
    """The name of the parts of a file: its own if the source's files may have it, else the only one that they have."""
    files = source.files
    is_free = files.has(name) or "*" in files.name
    return name if is_free or files.compression_of(name) != files.compression_of(files.name) else files.name


def _name_faults(names: Any, source: SourceSpec) -> list[str]:
    return [
        f"{name} is no file of the source, whose files are {source.files.name}; rename it"
        for name in names
        if not source.files.has(name)
    ]
