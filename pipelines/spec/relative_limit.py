"""A declared limit: as a multiple of a baseline (``2x baseline``), and which limits go with what is limited."""

from __future__ import annotations

import re
from collections.abc import Sequence

PATTERN = r"^(\d+(?:\.\d+)?)x baseline$"


def baseline_factor(text: str) -> float | None:
    """The multiple; None for any other text."""
    match = re.fullmatch(PATTERN, text)
    return float(match[1]) if match else None


def limit_faults(subject: str, named: Sequence[str], allowed: Sequence[str], several: str) -> list[str]:
    """What is wrong with the limits ``named`` of ``subject``, of which one of the ``allowed`` may be given.

    ``several``: what to write for two limits, as in "write two rules".
    """
    faults = [
        f"{name} is no limit of {subject}; it has {' or '.join(allowed) or 'none'}"
        for name in named
        if name not in allowed
    ]
    return faults or ([f"{' and '.join(named)} are two limits; {several}"] if len(named) > 1 else [])
