"""No group of rows pays for the average: a slice that loses too much against the champion stops the candidate."""

from __future__ import annotations

from pipelines.rules.slice_gate import judge_slices
from practices._operators.gate import Gate


class SliceGate(Gate):
    """Hold every slice that is large enough against the loss declared in ``evaluation.slices``."""

    stem, rule = "slice_gate", staticmethod(judge_slices)
