"""Excludes permanently loaded objects from garbage collection, so that requests do not wait for it."""

from __future__ import annotations

import gc


def freeze_gc() -> None:
    """Collect once, exclude all remaining objects from later collections, and make these rarer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
