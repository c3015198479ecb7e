"""A limit as a multiple of a baseline, as ``2x baseline`` declares it."""

from __future__ import annotations

import re

PATTERN = r"^(\d+(?:\.\d+)?)x baseline$"


def baseline_factor(text: str) -> float | None:
    """The multiple; None for any other text."""
    match = re.fullmatch(PATTERN, text)
    return float(match[1]) if match else None
