"""Reads the arguments of a run from its form, else from the events that started it, its partition key or its date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.errors import Refused
from pipelines.spec.partitions import PartitionCalendar, first_instant


def run_key(context: Any) -> str:
    """``<dag_id>/<run_id>``: the same for every try of every task of one run."""
    return f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}"


def clear_count(context: Any) -> int:
    """How often tasks of the run were cleared."""
    return getattr(context["dag_run"], "clear_number", 0) or 0


def action_key(context: Any, *parts: str) -> str:
    """Idempotency key of an action of a task: equal for every try, different after the run was cleared."""
    return "/".join([run_key(context), context["ti"].task_id, str(clear_count(context)), *parts])


def actor(context: Any, default: str) -> str:
    """The user who triggered the run; ``default`` if no user did."""
    return getattr(context["dag_run"], "triggering_user_name", None) or default


def event_extras(context: Any, asset: str) -> list[Mapping[str, Any]]:
    """The extras of the events of one asset that started this run, oldest first; empty for a run without events."""
    by_asset: Mapping[Any, Iterable[Any]] = context.get("triggering_asset_events") or {}
    events = [event for key, events in by_asset.items() if key.name == asset for event in events]
    return [event.extra or {} for event in sorted(events, key=lambda event: event.timestamp)]


def is_posted(context: Any, asset: str) -> bool:
    """Whether a person posted an event of this asset to Airflow's API, which marks it and does not name the person."""
    return any(extra.get("from_rest_api") for extra in event_extras(context, asset))


def version(context: Any, asset: str, known_versions: Iterable[str], others: Iterable[str] = ()) -> str:
    """The version in the form; else the newest of those in the events and of ``known_versions``.

    Airflow may merge two events into one run and drop one, so versions that wait are included. Raises ``Refused`` if
    there is none, with ``others``: texts about the versions that have to be named.
    """
    if in_form := context["params"].get("version"):
        return str(in_form)
    versions = [str(extra["version"]) for extra in event_extras(context, asset) if "version" in extra]
    versions += known_versions
    if odd := [version for version in versions if not version.isdecimal()]:
        reasons = [f"an event of {asset} names version {version!r}" for version in odd]
        raise Refused("a version is a number", [*reasons, "trigger the DAG by hand and name one"])
    if not versions:
        hint = f"fill in the field version, or let an event of {asset} start the run"
        raise Refused(f"this run of {context['dag_run'].dag_id} names no version, and none waits", [hint, *others])
    return max(versions, key=int)


def as_of(context: Any, timezone: str) -> datetime:
    """The time (UTC) up to which a training may use labels.

    A day (in the form, or in the retrain request that started the run) means its end in the dataset's time zone;
    without one it is the run's logical date, or its ``run_after``.
    """
    requests = event_extras(context, f"{context['dag_run'].dag_id.removesuffix('__train')}:retrain_requested")
    last = context["params"].get("as_of") or next((str(e["day"]) for e in reversed(requests) if "day" in e), None)
    if last is None:
        moment: datetime = context["dag_run"].logical_date or context["dag_run"].run_after
        return moment.astimezone(UTC)
    following = parse_day(str(last), "as_of") + timedelta(days=1)
    return first_instant(following, ZoneInfo(timezone))


def day(context: Any) -> date:
    """The day in the form, or the run's partition key. ``Refused`` if there is neither, or if the two differ."""
    key = _named_key(context, "day", "YYYY-MM-DD", lambda text, field: f"{parse_day(text, field)}")
    return date.fromisoformat(key)


def partition_key(context: Any, calendar: PartitionCalendar) -> str:
    """The key in the form's field ``day``, ``week``, …, or the run's. ``Refused`` if it has neither, or if they differ.

    Whether it is a key of the calendar is for the caller to ask.
    """
    if calendar.every == "day":
        return f"{day(context)}"
    return _named_key(context, calendar.noun, calendar.example, lambda text, _: text)


def _named_key(context: Any, field: str, form: str, read: Callable[[str, str], str]) -> str:
    named = {field: context["params"].get(field), "partition key": context["dag_run"].partition_key}
    keys = {where: read(str(text), where) for where, text in named.items() if text}
    if not keys:
        raise Refused(f"this run names no {field}", [f"fill in the field {field} ({form}), or give it a partition key"])
    if len(set(keys.values())) > 1:
        both = " and ".join(f"{where} {key}" for where, key in keys.items())
        raise Refused(
            f"this run names two {field}s: {both}", ["trigger it again with one of them, and leave the other empty"]
        )
    return next(iter(keys.values()))


def parse_day(text: str, field: str) -> date:
    """Parse a date written as ``2013-01-31``, and in no other way: a day has one key. ``Refused`` names the field."""
    hint = "write it as YYYY-MM-DD, for example 2013-01-31"
    try:
        parsed = date.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"{field} {text!r} is not a date", [hint]) from error
    if text != parsed.isoformat():
        raise Refused(f"{field} {text!r} is not a date as this installation writes it", [f"write it as {parsed}"])
    return parsed
