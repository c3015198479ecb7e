"""Names and values of columns that are often personal data, about which a person is asked; they decide nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

PERSONAL_WORDS = (
    *("e_?mails?", "phones?", "mobiles?", "fax", "ssn", "passports?", "ibans?", "credit_?cards?", "license_?plates?"),
    *("births?", "birthdays?", "birth_?dates?", "dob", "first_?names?", "last_?names?", "full_?names?", "surnames?"),
    *("family_?names?", "given_?names?", "user_?names?", "streets?", "address(?:es)?", "ip", "ip_?address(?:es)?"),
)
PERSONAL_NAME = re.compile(rf"(?:^|_)(?:{'|'.join(PERSONAL_WORDS)})(?:_|$)")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


PERSONAL_VALUES = {
    "e-mail addresses": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "telephone numbers": re.compile(r"\+[1-9][0-9]{0,3}[ ()/.-]*[0-9][0-9 ()/.-]{5,}"),
    "IP addresses": re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?:\.(?!$)|$)){4}"),
    "IBANs": re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?"),
}
PERSONAL_SHARE = 0.8
"""Of the values that look like one kind, from which a column is asked about."""


def personal_kind(values: Sequence[str]) -> str | None:
    """What most of the values look like, as ``e-mail addresses``; None: nothing personal."""
    for kind, form in PERSONAL_VALUES.items():
        if values and sum(form.fullmatch(value) is not None for value in values) >= PERSONAL_SHARE * len(values):
            return kind
    return None


def may_be_personal(column: str) -> bool:
    """Whether the words of a name (``contactEmail``, ``E-Mail``, ``birth_date``) are those of personal data."""
    return PERSONAL_NAME.search(HUMP.sub("_", column).lower()) is not None
