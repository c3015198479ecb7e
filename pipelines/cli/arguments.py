"""Types of command-line arguments: what is wrong with a value is said in words, before a command does anything."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

MAX_DIGITS = 9
"""Of a whole number: more than any count or version of an installation has."""


def day(text: str) -> date:
    """A day as ``2013-03-01``."""
    try:
        value = date.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or text != value.isoformat():
        raise ArgumentTypeError(f"{text!r} is not a day; write it as 2013-03-01")
    return value


def first_moment(text: str) -> datetime:
    """The midnight of a day, or the moment itself; without a zone it is UTC."""
    return _moments(text)[0]


def last_moment(text: str) -> datetime:
    """The end of a day, or the moment itself, both included; without a zone it is UTC."""
    return _moments(text)[1]


def count(text: str) -> int:
    """A whole number, at least 1."""
    number = _whole_number(text)
    if not number:
        raise ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return number


def table_version(text: str) -> int:
    """A whole number, at least 0."""
    number = _whole_number(text)
    if number is None:
        raise ArgumentTypeError(f"{text!r} is not a version; versions of a table are 0, 1, 2 and so on")
    return number


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def new_file(text: str) -> Path:
    """A path at which a file can be made: its folder exists, and it is none itself."""
    path = Path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"{text} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise ArgumentTypeError(f"there is no folder {path.absolute().parent}")
    return path


def sentence(text: str) -> str:
    """A text of which something is left without blanks; blanks in a row become one."""
    words = " ".join(text.split())
    if not words:
        raise ArgumentTypeError("it is empty; say why, for whoever reads it later")
    return words


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def _moments(text: str) -> tuple[datetime, datetime]:
    try:
        midnight = datetime.combine(date.fromisoformat(text), time(), UTC)
        return midnight, midnight + timedelta(days=1, microseconds=-1)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is neither a day (2013-03-01) nor a time (2013-03-01T06:00)") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment, moment
