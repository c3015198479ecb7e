"""Rejects a candidate that loses more than declared against the champion on any slice with enough rows."""

from __future__ import annotations

from pipelines.rules.slice_gate import judge_slices
from practices._operators.gate import Gate


class SliceGate(Gate):
    """Compare the loss on every slice with enough rows with the limit in ``evaluation.slices``."""

    stem, rule = "slice_gate", staticmethod(judge_slices)
