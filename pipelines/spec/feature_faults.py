"""Says which names of a view's features are vague, taken, or do not say their window, and which limits suit none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.spec.aggregate import Aggregate, aggregate_faults
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.event_time import EventTime
from pipelines.spec.features import (
    EVENT,
    MOMENT,
    Constraints,
    DirectColumn,
    Feature,
    LatestObservation,
    Lookup,
    Transformation,
)
from pipelines.spec.label import Label
from pipelines.spec.panel import PERIOD
from pipelines.spec.python_function import HAPPENED, ROW_ID, PythonFunction

VAGUE_NAME_PATTERN = re.compile(r"^(f|x|v|col|feat|feature|var|variable|tmp|temp|test|data|value|field|input)_?\d*$")
SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
COLUMN_NAME = re.compile(r"[A-Za-z]\w*")
WINDOW_SUFFIX = re.compile(r"_(\d+)(m|h|d)$")
SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
PREDICTION_TIME = "prediction_time"
"""Column of the rows that holds their moment ``t``."""
TAKEN_BY_MOMENT = "by which name each row has its moment t; have the source rename the column"
RESERVED_COLUMNS = (
    PREDICTION_TIME, "day", PERIOD, "label_time", "target", "label", "part", "prediction", "entity_id"
)  # fmt: skip
"""Columns that the feature table, a snapshot, its profile and a join with the prediction log have of their own."""


def function_faults(how: PythonFunction, own: str, dataset: DatasetSpec) -> list[str]:
    """Columns that are missing or personal, and events that cannot be known. ``own``: the source of the rows."""
    theirs = dataset.sources[how.of].stored_columns()
    faults = [f"columns: {name!r} is not in {how.of}" for name in how.columns if name not in theirs]
    faults += [
        f"columns: {name!r} of {how.of} is personal data; no feature may use it"
        for name in how.columns
        if name in theirs and theirs[name].pii
    ]
    is_its_time = theirs.get(HAPPENED) is not None and _is_its_time(HAPPENED, how.of, dataset)
    own_names = [ROW_ID, MOMENT, *([HAPPENED] if HAPPENED in how.by or not is_its_time else [])]
    faults += [
        f"columns: {name!r} is a column of {how.of}, and what the function receives of a row or an event, too; have "
        "the source rename the column"
        for name in own_names
        if name in how.columns_read()
    ]
    return faults + aggregate_faults(how.events, "numeric", own, dataset)


def _is_its_time(column: str, source: str, dataset: DatasetSpec) -> bool:
    """Whether a column holds the time of the source's events as it is."""
    of = dataset.sources[source]
    return of.stored_time == EventTime(column) and of.stored_columns()[column].type == "timestamp"


def name_faults(
    entity: Sequence[str], label: Label | None, places: Mapping[str, str], features: Mapping[str, Feature]
) -> list[str]:
    """``places``: each feature's name to the name under which it is declared."""
    taken = {*RESERVED_COLUMNS, *([label.name] if label else [])}
    faults = []
    for name, place in places.items():
        how = features[name].transformation if name in features else None
        texts = _name_texts(name, how)
        if name in taken:
            texts.append(f"{name!r} is a reserved name; rename the feature")
        faults += [f"features.{place}: {text}" for text in texts]
    if label and label.name in RESERVED_COLUMNS:
        faults.append(f"label: {label.name!r} is a reserved name; rename the label")
    others = {name for name, feature in features.items() if not feature.is_column(name)}
    if shared := sorted(set(entity) & {*taken, *others}):
        faults.append(
            f"entity: {', '.join(shared)}: the columns share their name with another column of the feature table or of "
            "a snapshot: of its time, day, part, label or answer, or a feature; rename the feature or the label, or "
            "have the source rename the column"
        )
    return faults


def ambiguous(name: str, source: str) -> str:
    """What is wrong with a name that is a moment of the row and a column of its source."""
    time = "the time of the row's event" if name == EVENT else "the moment of the row"
    return f"{name!r} is {time} and a column of {source}, too; have the source rename the column"


def limit_faults(
    limits: Constraints, how: Transformation, kind: Literal["categorical", "numeric"]
) -> list[tuple[str, str]]:
    """Field and fault of constraints that no feature of this kind, or none that is made so, can be judged by."""
    faults = []
    if limits.model_fields_set & {"minimum", "maximum"} and kind == "categorical":
        faults.append(("constraints", "min and max limit numbers, not categories; remove them"))
    wrong, example = {"numeric": (str, "a number"), "categorical": (float, "a text in quotes")}[kind]
    if others := [value for value in limits.allowed or [] if isinstance(value, wrong)]:
        text = f"the feature is {kind}, and {', '.join(map(repr, others))} no value of it; write {example}"
        faults.append(("constraints.allowed", text))
    if limits.freshness is not None and not isinstance(how, Lookup | LatestObservation | Aggregate):
        text = "tells of events and copies, and the feature reads none itself; declare it where they are read"
        faults.append(("constraints.freshness", text))
    return faults


def _name_texts(name: str, how: Transformation | None) -> list[str]:
    if name == MOMENT:
        return [f"{name!r} is the moment of the row in every expression; rename the feature, as in `code: {{own: t}}`"]
    if name == _column(how) and COLUMN_NAME.fullmatch(name):
        return []
    if not SNAKE_CASE.fullmatch(name):
        return [f"feature name {name!r} is not lower_snake_case"]
    if VAGUE_NAME_PATTERN.match(name):
        return [f"feature name {name!r} is too vague; name entity, measure and window, as in city_delay_mean_24h"]
    if not isinstance(how, Aggregate | PythonFunction) or how.window is None:
        return []
    suffix, seconds = WINDOW_SUFFIX.search(name), how.window.total_seconds()
    if suffix is None:
        return [f"feature name {name!r} must end with its window, as in _24h"]
    if int(suffix[1]) * SECONDS[suffix[2]] != seconds:
        return [f"feature name {name!r} must end with its window of {seconds / 3600:g} hours"]
    return []


def _column(how: Transformation | None) -> str | None:
    """The column whose value it is."""
    return how.column if isinstance(how, DirectColumn | Lookup | LatestObservation) else None
