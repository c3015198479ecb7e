"""Recognises e-mail addresses, phone numbers and passwords of addresses in text, and replaces them."""

from __future__ import annotations

import re
from typing import Any

from pipelines.errors import hide_passwords

EMAIL = re.compile(r"[^\s@<>,;\"']+@[^\s@<>,;\"']+\.[^\s@<>,;\"']+")
PHONE = re.compile(r"(?<![\w.:-])(?:\+|00)?\(?\d(?:[\s()./-]*\d){7,14}(?![\w:])")
INTERNATIONAL_PHONE = re.compile(r"(?<![\w.:-])\+\(?\d(?:[\s()./-]*\d){7,14}(?![\w:])")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def mask_text(text: str) -> str:
    """The text of a value, such as a caller sends it."""
    if "@" in text:
        text = EMAIL.sub("<email>", text)
    return PHONE.sub(lambda match: match[0] if DATE.match(match[0].strip()) else "<phone>", text)


def mask_message(text: str) -> str:
    """The text of a message: its sizes, addresses and times stay, so that a phone number is one that begins with +."""
    if "@" in text:
        text = EMAIL.sub("<email>", hide_passwords(text))
    return INTERNATIONAL_PHONE.sub("<phone>", text) if "+" in text else text


def mask_event(value: Any) -> Any:
    """``mask_message`` of every text in lists, tuples and values of mappings; everything else stays."""
    if isinstance(value, str):
        return mask_message(value)
    if isinstance(value, dict):
        return {key: mask_event(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(mask_event, value))
    return value
