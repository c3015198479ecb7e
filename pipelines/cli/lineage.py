"""`airworthy lineage <model> <version | snapshot | prediction>` goes from an answer down to the delivered files."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from pipelines import store_paths
from pipelines.cli.names import check_model, check_version
from pipelines.cli.terminal_text import print_line
from pipelines.errors import Refused
from pipelines.ledger.trained_facts import snapshot_digest
from pipelines.ports import Ports

DIGEST = re.compile(r"[0-9a-f]{64}")
SHOWN_DAYS = 3


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("lineage", help="go from an answer to the delivered files", description=__doc__)
    parser.add_argument("model")
    parser.add_argument(
        "subject",
        help="a version (3); the digest of a snapshot (64 hex digits); or a prediction: the id of its entity, its "
        "request or its correlation",
    )
    parser.add_argument("--all", action="store_true", help="every day of the snapshot, with every file")
    parser.add_argument("--json", action="store_true", help="the same for a program to read")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Print each link. ``Refused`` for what there is not, or what was not recorded."""
    check_model(options.model, ports)
    facts = lineage(options.model, options.subject, ports)
    if options.json:
        print(json.dumps(facts, indent=2, default=str))
        return 0
    for line in lineage_lines(facts, in_full=options.all):
        print_line(line)
    return 0


def lineage(model: str, subject: str, ports: Ports) -> dict[str, Any]:
    """``prediction`` (of an answer), ``version``, ``snapshot`` (its record) and ``days``: each with ``inputs``."""
    from pipelines.steps.auditing.lineage import read_record, snapshot_days

    facts: dict[str, Any] = {"model": model, "prediction": None, "version": None}
    digest = subject
    if DIGEST.fullmatch(subject) is None:
        facts["prediction"] = None if subject.isdecimal() else _prediction(model, subject, ports)
        version = subject if facts["prediction"] is None else facts["prediction"]["version"]
        check_version(model, version, ports)
        info = ports.registry.get(model, version)
        trained = ports.ledger.entries(model, version, "training")
        digest = snapshot_digest(trained[-1].details if trained else {}, info.tags) or ""
        facts["version"] = {"version": version, "semantic": info.semantic, "run": info.run_id, "snapshot": digest}
        if not digest:
            raise Refused(f"the ledger names no snapshot of {model} {version}; it was not trained by the train step")
    snapshot = read_record(ports.store, model, digest)
    days = [
        {
            "day": f"{each.day}",
            "rows": None if each.record is None else each.record.rows,
            "digest": None if each.record is None else each.record.digest,
            "inputs": [dataclasses.asdict(read) for read in each.inputs],
        }
        for each in snapshot_days(ports.store, snapshot)
    ]
    return {**facts, "snapshot": snapshot.model_dump(mode="json", by_alias=True), "days": days}


def _prediction(model: str, subject: str, ports: Ports) -> dict[str, Any]:
    """The newest logged answer with this id of an entity, a request or a correlation. Reads the whole log."""
    from io import BytesIO

    import polars as pl

    shown = ["prediction_time", "logged_at", "request_id", "row", "entity_id", "version", "prediction"]
    ids = ["request_id", "correlation_id", "entity_id"]
    newest: dict[str, Any] | None = None
    for path in ports.store.list(store_paths.predictions(model)):
        if path.endswith(".parquet"):
            rows = pl.read_parquet(BytesIO(ports.store.get(path)))
            named = rows.filter(pl.any_horizontal(pl.col(name) == subject for name in ids if name in rows.columns))
            for row in named.sort("logged_at").tail(1).select(shown).to_dicts():
                newest = row if newest is None or row["logged_at"] >= newest["logged_at"] else newest
    if newest is None:
        raise Refused(
            f"{model} has no version, snapshot or logged answer {subject}",
            ["give a version, a digest of 64 hex digits, or the id of an entity, a request or a correlation"],
        )
    return newest


def lineage_lines(facts: dict[str, Any], *, in_full: bool) -> Iterator[str]:
    """From the answer to the files, each link on a line."""
    model, answer, version = facts["model"], facts["prediction"], facts["version"]
    if answer is not None:
        yield f"prediction {answer['prediction']:g} of {model} about {answer['entity_id'] or 'an entity without id'}"
        yield f"  request {answer['request_id']}, row {answer['row']}, for {answer['prediction_time']}"
    if version is not None:
        semantic = f" ({version['semantic']})" if version["semantic"] else ""
        yield f"version {version['version']}{semantic} of {model}, trained in run {version['run']}"
    snapshot = facts["snapshot"]
    yield f"snapshot {snapshot['digest']}: {snapshot['rows']} rows known by {snapshot['as_of']}"
    for table, number in snapshot["table_versions"].items():
        yield f"  {table} at version {number}"
    for name, (number, digest) in snapshot.get("definitions", {}).items():
        yield from [f"  feature {name}@{number}, definition {digest[:12]}"] if in_full else []
    for day, reasons in snapshot.get("missing_days", {}).items():
        yield f"  without {day}: {'; '.join(reasons)}"
    for day, text in snapshot.get("incomplete_days", {}).items():
        yield f"  incomplete {day}: {text}"
    days = facts["days"]
    shown = days if in_full else days[-SHOWN_DAYS:]
    if len(days) > len(shown):
        yield f"{len(days) - len(shown)} earlier days; --all shows them"
    for day in shown:
        if day["digest"] is None:
            yield f"features of {day['day']}: written before 0.2.0, their commit names no inputs"
            continue
        yield f"features of {day['day']}: {day['rows']} rows, digest {day['digest'][:12]}, from"
        for read in day["inputs"]:
            raw = "no recorded delivery" if read["raw_version"] is None else f"raw version {read['raw_version']}"
            yield f"  {read['table']} {read['key']} (version {read['version']}, {raw})"
            yield from (f"    {name} sha256 {sha256}" for name, sha256 in read["files"].items())
