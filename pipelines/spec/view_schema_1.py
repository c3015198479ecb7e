"""Says line by line what takes the place of each field of a view that was written for ``schema: 1``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pipelines.spec.durations import written_duration

CALENDAR = {"hour_local": "hour", "day_of_week": "weekday"}
NUMBER = int | float


def view_schema_1_faults(fields: Mapping[str, Any]) -> list[str]:
    """``<place>: <what to write>`` for each field that is written otherwise now, whatever else may be wrong."""
    faults = ["schema: 1 is no longer read; write `schema: 2`, and what is said of the other lines"]
    source = fields.get("entity_source", "<source>")
    if "key" in fields:
        faults.append(f"key: write `entity: [{', '.join(map(str, fields['key'] or []))}]`")
    lead = _hours(fields.get("lead_hours"))
    if "entity_source" in fields:
        faults.append(f"entity_source: write `rows: {{per: {source}, lead: {lead}}}`")
    faults += [f"{name}: it stands in `rows` now; remove it" for name in ("lead_hours",) if name in fields]
    time = " + ".join(str(fields[name]) for name in ("event_hour_column", "event_minute_column") if fields.get(name))
    faults += [
        f"{name}: remove it; the dataset says `event_time: {time}`"
        for name in ("event_hour_column", "event_minute_column")
        if name in fields
    ]
    faults += _known_faults(fields)
    label = _fields(fields.get("label"))
    if label:
        faults.append(
            f'label: write `label: {{{label.get("name")}: "{label.get("column")} >= {label.get("at_least")}"}}`'
        )
    for name, feature in _fields(fields.get("features")).items():
        faults += [f"features.{name}.{fault}" for fault in _feature_faults(name, _fields(feature), fields)]
    return faults


def _known_faults(fields: Mapping[str, Any]) -> list[str]:
    delay, label = fields.get("delay_column"), _fields(fields.get("label"))
    faults = []
    if delay is not None:
        faults.append(f"delay_column: remove it; the dataset says `known_columns: {{{delay}: {{after: {delay}}}}}`")
    if "max_delay_hours" in fields:
        delay_hours = _hours(fields["max_delay_hours"])
        faults.append(f"max_delay_hours: remove it; write `max_delay: {delay_hours}` in each feature with a window")
    if "outcome_columns" in fields:
        faults.append("outcome_columns: remove it; the dataset says under known_columns when each of them is known")
    after = [*map(str, label.get("known_after_columns") or []), *_constant(label.get("known_after_minutes"))]
    if after:
        faults.append(
            f"label.known_after_columns: the dataset says `{label.get('column')}: {{after: {' + '.join(after)}}}`"
        )
    return faults


def _constant(minutes: Any) -> list[str]:
    return [f"{minutes:g}"] if isinstance(minutes, NUMBER) and minutes else []


def _feature_faults(name: str, feature: Mapping[str, Any], view: Mapping[str, Any]) -> list[str]:
    how = _fields(feature.get("transformation"))
    faults = [f"transformation: write `{_form(name, how, view)}` in its place"]
    if "source_columns" in feature:
        faults.append("source_columns: remove it; the columns follow from what the feature is")
    constraints = _fields(feature.get("constraints"))
    names = {"minimum": "min", "maximum": "max", "max_null_share": "nulls"}
    faults += [
        f"constraints.{long}: write `{short}: {constraints[long]}`"
        for long, short in names.items()
        if long in constraints
    ]
    return faults


def _form(name: str, how: Mapping[str, Any], view: Mapping[str, Any]) -> str:
    """The fields of the present form."""
    source, kind, column = view.get("entity_source", "<source>"), how.get("type"), how.get("column")
    by = f"by: {_one(how.get('by'))}"
    max_delay = f"clock: known, max_delay: {_hours(view.get('max_delay_hours', 24))}"
    if kind == "column":
        return "own: true" if column == name else f"own: {column}"
    if kind == "calendar":
        return f"calendar: {CALENDAR.get(str(how.get('part')), how.get('part'))}"
    if kind == "lookup" and how.get("as") == "age_years":
        return f'expression: "year(t) - {how.get("source")}.{column}"'
    if kind == "lookup":
        return f"lookup: {how.get('source')}.{column}, on: {_one(how.get('on'))}"
    if kind == "latest_observation":
        return f"latest: {how.get('source')}.{column}, {by}, max_age: {_hours(how.get('max_age_hours'))}"
    if kind in ("window_mean", "last_value"):
        function = "mean" if kind == "window_mean" else "last"
        window = f"window: {_hours(how.get('window_hours'))}, {max_delay}"
        return f"aggregate: {function}({column}), of: {source}, {by}, {window}"
    if kind == "expression":
        return f'expression: "{how.get("expression")}"'
    return _aggregate(how, source, by, max_delay)


def _aggregate(how: Mapping[str, Any], source: Any, by: str, max_delay: str) -> str:
    text = f"{how.get('function')}({how['column']})" if how.get("column") else how.get("function")
    rest = [f"{name}: {_text(how[name])}" for name in ("where", "window", "unit") if how.get(name) is not None]
    clock = [max_delay] if how.get("clock") == "known" else []
    return ", ".join([f"aggregate: {text}", f"of: {how.get('of', source)}", by, *rest, *clock])


def _text(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) and " " in value else str(value)


def _one(names: Any) -> str:
    names = names if isinstance(names, list) else [names]
    return str(names[0]) if len(names) == 1 else f"[{', '.join(map(str, names))}]"


def _hours(hours: Any) -> str:
    return written_duration(timedelta(hours=hours)) if isinstance(hours, NUMBER) else "<duration>"


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
