"""Builds a view from a sample of its dataset: its first rows, its labels, and features that give them away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import store_paths
from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.progress import TEXT_WIDTH, open_console
from pipelines.cli.scratch_deliveries import copy_deliveries, deliver_files
from pipelines.cli.terminal_text import print_text
from pipelines.cli.trial import build_trial, scratch_ports
from pipelines.cli.trial_page import data_lines, refused_lines
from pipelines.errors import EXIT_REFUSED
from pipelines.ports import Ports
from pipelines.rules.leaks import leak_reasons
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.plain_yaml import load, split_line, with_lines
from pipelines.verdict import counted, significant

if TYPE_CHECKING:
    import polars as pl

MOST_BYTES = 8 * 1024**2
"""Of the newest deliveries, from which a view is built where no file is named."""
SHOWN_ROWS = 3
PLACEHOLDER = re.compile(r"\\\{\w+\\\}")


@dataclass(frozen=True)
class Target:
    """What is predicted of the rows: by a model, or by the view's own label where no model is declared."""

    name: str
    expression: str
    is_condition: bool | None
    """None: the values tell."""


def check_view_sample(name: str, files: Sequence[str], ports: Ports, *, as_json: bool) -> int:
    """Print what the rows of a view, or of a model's view, are; 0 if nothing would be refused, else 65.

    ``files``: of the sources; without any the newest deliveries of the installation, up to 8 MiB.
    """
    catalog = ports.catalog
    view = catalog.view_of(name) if name in catalog.models else catalog.view(name)
    dataset = catalog.dataset(view.dataset)
    models = [catalog.models[name]] if name in catalog.models else _models_of(view, catalog.models)
    with scratch_ports(ports, name, {}) as scratch:
        if files:
            deliveries = deliver_files(dataset, list(files), scratch.store)
        else:
            deliveries = copy_deliveries(dataset, ports.store, scratch.store, ports.clock(), most_bytes=MOST_BYTES)
        trial = build_trial(view, deliveries, scratch)
        width = open_console(TEXT_WIDTH).width
        lines = list(data_lines(trial, view, width))
        questions: list[tuple[str, str]] = []
        if scratch.store.partitions(store_paths.features(view.view)):
            described, questions = _describe(view, models, scratch, width)
            lines += described
    file = ports.settings.include / "features" / f"{view.view}.yaml"
    placed = [split_line(line) for line in with_lines(file.read_text(encoding="utf-8"), _placed(questions, file))]
    if as_json:
        for stage, reason in trial.refused:
            print(json.dumps({"stage": stage, "fault": reason}))
        for line, text in placed:
            print(json.dumps({"file": f"{file}", "line": line, "question": text}))
    else:
        lines += [f"{file}{'' if line is None else f':{line}'}: {text}" for line, text in placed]
        for text in [*lines, *refused_lines(trial, width)]:
            print_text(text)
    return EXIT_REFUSED if trial.refused else 0


def _models_of(view: FeatureView, models: Mapping[str, ModelSpec]) -> list[ModelSpec]:
    return [spec for spec in models.values() if spec.view == view.view]


def _describe(
    view: FeatureView, models: Sequence[ModelSpec], ports: Ports, width: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """The first rows, the labels and what a canary needs; and the questions about features, each with its name."""
    from pipelines.steps.leakage.view_leaks import feature_leaks, labelled_features

    lines: list[str] = []
    questions: dict[tuple[str, str], None] = {}
    features = [*view.features]
    for target in _targets(view, models):
        frame = labelled_features(ports.store, view, ports.catalog.dataset(view.dataset), target.expression, features)
        if not lines:
            lines += _first_rows(frame, view)
        known = frame["label"].drop_nulls()
        is_condition = target.is_condition
        if is_condition is None:
            is_condition = bool(known.is_in([0.0, 1.0]).all())
        lines.append(hanging_lines("label: ", _label_text(target.name, known, frame.height, is_condition), width))
        for facts in feature_leaks(frame, view, features, is_condition=is_condition):
            if reasons := leak_reasons(facts):
                text = f"is {facts.name} known when the question is put? {'; '.join(reasons)}"
                questions[(facts.name, text)] = None
    lines += [hanging_lines("rollout: ", text, width) for spec in models if (text := _rollout_text(spec, view, ports))]
    return lines, list(questions)


def _targets(view: FeatureView, models: Sequence[ModelSpec]) -> Iterator[Target]:
    for spec in models:
        yield Target(spec.model, spec.target.expression, spec.problem == "classification")
    if not models and view.label is not None:
        yield Target(view.label.name, view.label.name if view.label_follows else view.label.expression, None)


def _first_rows(frame: pl.DataFrame, view: FeatureView) -> list[str]:
    days = frame["day"].unique().sort().to_list()
    span = "" if view.is_table else f", {counted(len(days), 'day')} from {days[0]} to {days[-1]}"
    width = max(map(len, view.features))
    lines = [f"{view.view}: {counted(frame.height, 'row')}{span}"]
    for name, feature in view.features.items():
        values = "  ".join(_value(value) for value in frame[name].head(SHOWN_ROWS))
        lines.append(f"  {name:<{width}}  {feature.type:<11}  {values}")
    return lines


def _value(value: object) -> str:
    if value is None:
        return "null"
    return significant(value) if isinstance(value, float) else f"{value}"


def _label_text(name: str, known: pl.Series, rows: int, is_condition: bool) -> str:
    unknown = f"; of {rows - len(known):,} it is not known" if len(known) < rows else ""
    if known.is_empty():
        return f"{name} is known of no row of {rows:,}"
    mean = float(str(known.mean()))
    what = f"true in {mean:.1%}" if is_condition else f"mean {significant(mean)}"
    return f"{name} {what} of {counted(len(known), 'row')}{unknown}"


def _rollout_text(spec: ModelSpec, view: FeatureView, ports: Ports) -> str:
    """How long a candidate that equals its champion needs to pass, if each row is asked about once; or nothing."""
    from pipelines.steps.rollouts.design import rollout_design

    needed = [stage.requests_to_pass for stage in rollout_design(spec)]
    if not needed:
        return ""
    known = [number for number in needed if number is not None]
    if len(known) < len(needed):
        return f"no number of requests shows that a candidate of {spec.model} equals its champion; see its deployment"
    stages, total = counted(len(needed), "stage"), sum(known)
    text = f"a candidate of {spec.model} that equals its champion passes {stages} after {counted(total, 'request')}"
    days = ports.store.days(store_paths.features(view.view))
    if view.is_table or not days:
        return text
    per_day = ports.store.read(store_paths.features(view.view)).height / ((days[-1] - days[0]).days + view.days_apart)
    return f"{text}: {total / per_day:,.1f} days, if each row is asked about once"


def _placed(questions: Sequence[tuple[str, str]], file: Path) -> list[str]:
    """Each question with the place of its feature in the file of the view."""
    declared = load(file.read_text(encoding="utf-8")).get("features", {})
    return [f"features.{_place_of(name, declared)}: {text}" for name, text in questions]


def _place_of(name: str, declared: Sequence[str]) -> str:
    """The key that declares a feature: its own, a list of names, a template, or ``*``."""
    for place in declared:
        names = [each.strip() for each in place.split(",")]
        if any(re.fullmatch(PLACEHOLDER.sub("[a-z0-9_]+", re.escape(each)), name) for each in names):
            return place
    return "*"
