"""Column names that often hold personal data, about which a person is asked; the name alone decides nothing."""

from __future__ import annotations

import re

PERSONAL_WORDS = (
    *("e_?mails?", "phones?", "mobiles?", "fax", "ssn", "passports?", "ibans?", "credit_?cards?", "license_?plates?"),
    *("births?", "birthdays?", "birth_?dates?", "dob", "first_?names?", "last_?names?", "full_?names?", "surnames?"),
    *("family_?names?", "given_?names?", "user_?names?", "streets?", "address(?:es)?", "ip", "ip_?address(?:es)?"),
)
PERSONAL_NAME = re.compile(rf"(?:^|_)(?:{'|'.join(PERSONAL_WORDS)})(?:_|$)")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def may_be_personal(column: str) -> bool:
    """Whether the words of a name (``contactEmail``, ``E-Mail``, ``birth_date``) are those of personal data."""
    return PERSONAL_NAME.search(HUMP.sub("_", column).lower()) is not None
