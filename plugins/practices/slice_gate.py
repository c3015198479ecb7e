"""Stops a candidate that loses more than declared against the champion on any slice of enough rows."""

from __future__ import annotations

from pipelines.rules.slice_gate import judge_slices
from practices._operators.gate import Gate


class SliceGate(Gate):
    """Hold every slice that is large enough against the loss declared in ``evaluation.slices``."""

    stem, rule = "slice_gate", staticmethod(judge_slices)
