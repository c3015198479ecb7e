"""Keeps the garbage collector away from what a process has loaded to stay, so that requests do not wait for it."""

from __future__ import annotations

import gc


def freeze_gc() -> None:
    """Collect once, leave out of every later collection whatever is left, and collect seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
