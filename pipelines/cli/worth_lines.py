"""Renders what a model is worth and costs, and names each number that is not known, with what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.cli.terminal_text import markup

UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


def worth_lines(worth: dict[str, Any]) -> Iterator[str]:
    """``worth``: a ``ModelWorth`` as JSON."""
    days = f"{worth['days']:.0f} day{'s' if round(worth['days']) != 1 else ''}"
    life = [
        _named("{} from training to release", duration_text(worth["time_to_deploy_seconds"])),
        _named("{:.1f} releases a month", worth["releases_a_month"]),
        _named("{:.1f} incidents a month", worth["incidents_a_month"]),
        _named(f"{{}} to recover (median of {worth['recovered']})", duration_text(worth["time_to_recover_seconds"])),
    ]
    yield from _line(f"worth, {days}", life)
    if worth["right"] is not None:
        first, last = worth["answer_days"]
        value = _amount(worth, "answers_value", "worth {}, {} a day", worth["answers_value_a_day"])
        answers = f"{worth['right']:,} right, {worth['wrong']:,} wrong"
        yield from _line(f"answers of {first} to {last}", [answers, value])
    duration = duration_text(worth["training_seconds"]) if worth["trainings"] else None
    costs = [
        _named(f"{worth['trainings']} training{'s' if worth['trainings'] != 1 else ''} in {{}}", duration),
        _amount(worth, "training_cost", "{}"),
        _amount(worth, "serving_cost", "serving {}"),
    ]
    yield from _line(f"cost, {days}", costs)
    for name, why in worth["missing"].items():
        yield markup(f"  {name.replace('_', ' ')}: not known, {why}")


def duration_text(seconds: float | None) -> str | None:
    """In the largest unit of which there are at least two."""
    if seconds is None:
        return None
    size, unit = next((each for each in UNITS if seconds >= 2 * each[0]), UNITS[-1])
    return f"{seconds / size:.0f} {unit}"


def _line(subject: str, parts: list[str | None]) -> Iterator[str]:
    known = [part for part in parts if part is not None]
    if known:
        yield markup(f"  {subject}: {'; '.join(known)}")


def _named(text: str, value: Any) -> str | None:
    return None if value is None else text.format(value)


def _amount(worth: dict[str, Any], name: str, text: str, *others: float) -> str | None:
    if worth[name] is None:
        return None
    return text.format(*(f"{value:,.2f} {worth['currency']}" for value in (worth[name], *others)))
