"""Says line by line what takes the place of each field of a model that was written for ``schema: 1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_schema_1_faults(fields: Mapping[str, Any]) -> list[str]:
    """``<place>: <what to write>`` for each field that is written otherwise now, whatever else may be wrong."""
    faults = ["schema: 1 is no longer read; write `schema: 2`, and what is said of the other lines"]
    target = fields.get("target")
    if isinstance(target, Mapping):
        column, limit = target.get("column"), target.get("at_least")
        text = f"{column}" if limit is None else f'"{column} >= {limit}"'
        faults.append(f"target: write `target: {text}`, or the view's label of this meaning")
    if "problem" in fields:
        faults.append("problem: remove it, or leave it: a condition is a classification, a number a regression")
    return faults
