"""Errors raised on purpose are ``Refused`` (a retry is useless) or ``Unavailable`` (a retry may help).

Errors
------
``AirworthyError``
    ├── ``Refused``      a retry is useless until a person changes something
    │       └── ``Conflict``  another caller changed the object meanwhile: read its new state first
    └── ``Unavailable``  an outside service did not answer; try again later

A message names the thing, the value, the limit and what to do. A check that finds several faults raises
one error that lists all of them. No message repeats the password of an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

EXIT_REFUSED = 65
EXIT_UNAVAILABLE = 75
LOGIN = re.compile(r"(?<=:/)(/?)(?:[^\s/:@]*:\S+|[^\s/]+)@")
"""The name and password of an address, whatever the password holds, also where a slash was forgotten."""


def hide_passwords(text: str) -> str:
    """The text with ``***`` in place of the name and password of each address."""
    return LOGIN.sub(r"\1***@", text) if "@" in text else text


class AirworthyError(Exception):
    """The root of all errors raised on purpose."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(hide_passwords(message))


class Refused(AirworthyError):
    """The request cannot succeed until a person changes something: never retried.

    ``reasons`` lists every failing condition, one per line of the message.
    """

    exit_code = EXIT_REFUSED

    def __init__(self, subject: str, reasons: Sequence[str] = ()) -> None:
        self.subject = hide_passwords(subject)
        self.reasons = [hide_passwords(reason) for reason in reasons]
        lines = "".join(f"\n  - {reason}" for reason in self.reasons)
        super().__init__(f"{self.subject}{lines}")

    def __reduce__(self) -> tuple[type[Refused], tuple[str, list[str]]]:
        return type(self), (self.subject, self.reasons)


def unknown_name(subject: str, known: Iterable[str]) -> Refused:
    """``there is no model nosuch; there are churn, demand``: ``subject`` says what there is not."""
    names = list(known)
    return Refused(f"{subject}; there {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none yet'}")


def cannot_listen(host: str, port: int, error: OSError | OverflowError) -> Refused:
    """The refusal of a listener whose port another program has, or whose address is none of this machine."""
    why = getattr(error, "strerror", None) or str(error)
    return Refused(f"cannot listen on {host}:{port}: {why}; free the port or choose another")


class Conflict(Refused):
    """The change expected a former state of the object: read the new state and decide again."""


class Unavailable(AirworthyError):
    """An outside service did not answer: retried with exponential backoff."""

    exit_code = EXIT_UNAVAILABLE
