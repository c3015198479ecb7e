"""Prints for each dataset how many of its hand-written lines `adopt` drafts: ``python -m tests.bench.adopted``.

A line counts if all that it says is in the draft; names that a person gives (of the dataset, view, model, label and
features), descriptions and owners are left aside. A feature is what it computes, whatever the form it is written in.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from pipelines.cli.main import parser
from pipelines.spec.plain_yaml import load
from pipelines.testing.ports import FakePorts
from tests.bench.adopted.hand_written import HandWritten, written

NAMES = {"dataset", "view", "model", "target"}
ASIDE = {"description", "owner", "tags"}
LABEL_OPTIONS = {"within", "where", "on"}
NOW = datetime(2024, 7, 1, tzinfo=UTC)
Fact = tuple[str, ...]


def drafted(case: HandWritten) -> dict[str, str]:
    """Kind of a declaration to its draft."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        ports = FakePorts.make(home, clock=lambda: NOW)
        ports.settings = ports.settings.model_copy(update={"include": home / "include"})
        paths = []
        for file, content in case.files.items():
            (home / file).write_bytes(content)
            paths.append(str(home / file))
        options = parser().parse_args(["adopt", *paths, *case.words, "--json"])
        with contextlib.redirect_stdout(io.StringIO()):
            options.run(options, ports)
        return {kind: next((home / "include" / kind).glob("*.yaml")).read_text() for kind in case.texts}


def facts_by_line(text: str) -> list[tuple[int, list[Fact]]]:
    """Line of the file to all that it says; lines that only name or describe are left out."""
    lines: dict[int, list[Fact]] = {}
    whole = load(text)
    for key, node in yaml.compose(text, Loader=yaml.SafeLoader).value:
        name = key.value
        if name in NAMES | ASIDE or name == "schema":
            continue
        if name == "features":
            for place, _ in node.value:
                line = place.start_mark.line
                lines.setdefault(line, []).extend(_features(place.value, whole["features"][place.value]))
        elif name == "label":
            options = [(field, str(value)) for field, value in whole["label"].items() if field in LABEL_OPTIONS]
            [expression] = [str(value) for field, value in whole["label"].items() if field not in LABEL_OPTIONS]
            lines[key.start_mark.line] = [("label", expression), *options]
        else:
            _walk((name,), node, lines)
    return sorted(lines.items())


def _walk(path: Fact, node: yaml.Node, lines: dict[int, list[Fact]]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value in ASIDE:
                continue
            for each in key.value.split(","):
                _walk((*path, each.strip()), value, lines)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _walk(path, value, lines)
    else:
        lines.setdefault(node.start_mark.line, []).extend(_scalar(path, node.value))


def _scalar(path: Fact, value: str) -> Iterator[Fact]:
    """``integer or null``, and a path of files alone, in their long form."""
    if path[-1] == "files":
        path = (*path, "path")
    if "columns" in path and len(path) == path.index("columns") + 2:
        path = (*path, "type")
    if path[-1] == "type" and value.endswith(" or null"):
        yield (*path[:-1], "nullable", "true")
        value = value.removesuffix(" or null")
    yield (*path, value)


def _features(place: str, form: Any) -> list[Fact]:
    """What each feature of a place computes; constraints are facts of their own."""
    names = [each.strip() for each in place.split(",")]
    if form == "own":
        return [("own", name) for name in names]
    if isinstance(form, str):
        return [("expression", form)]
    fields = {key: value for key, value in form.items() if key not in ASIDE | {"constraints", "version"}}
    limits = [("constraint", place, json.dumps(form["constraints"], sort_keys=True))] if "constraints" in form else []
    if "own" in fields:
        return [("own", name if fields["own"] is True else str(fields["own"])) for name in names] + limits
    by = {"by": [fields["by"]] if isinstance(fields.get("by"), str) else fields["by"]} if "by" in fields else {}
    on = {"on": [fields["on"]] if isinstance(fields.get("on"), str) else fields["on"]} if "on" in fields else {}
    rest = {k: v for k, v in fields.items() if k not in ("aggregate", "window", "windows", "calendar")} | by | on
    made = []
    for aggregate in _listed(fields.get("aggregate")):
        windows = fields.get("windows") or [fields.get("window")]
        made += [{**rest, "aggregate": aggregate, "window": window} for window in windows]
    if "calendar" in fields:
        made = [{**rest, "calendar": part} for part in _listed(fields["calendar"])]
    if "latest" in fields:
        made = [{**rest, "column": name} for name in names]
    return [("feature", json.dumps(each, sort_keys=True)) for each in made or [rest]] + limits


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def share(case: HandWritten) -> dict[str, int]:
    """Lines that say something, those of them that are drafted, and the same of single facts."""
    drafts = drafted(case)
    counts = {"lines": 0, "drafted_lines": 0, "facts": 0, "drafted_facts": 0}
    for kind, text in case.texts.items():
        held = {fact for _, facts in facts_by_line(drafts[kind]) for fact in facts}
        own = ("own", "*") in held
        for line, facts in facts_by_line(text):
            there = [fact in held or (own and fact[0] == "own") for fact in facts]
            counts["facts"] += len(there)
            counts["drafted_facts"] += sum(there)
            counts["lines"] += bool(there)
            counts["drafted_lines"] += bool(there) and all(there)
            if there and not all(there):
                missing = [fact for fact, is_there in zip(facts, there, strict=True) if not is_there]
                print(json.dumps({"not_drafted": text.splitlines()[line].strip(), "facts": missing}))
    return counts


if __name__ == "__main__":
    for name, case in written().items():
        counts = share(case)
        print(json.dumps({"dataset": name, **counts, "share": round(counts["drafted_lines"] / counts["lines"], 3)}))
