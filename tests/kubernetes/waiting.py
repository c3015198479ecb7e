"""Tests wait for what the cluster is to do, not for a time: a wait ends at once when it has come about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 300
"""Seconds after which a wait fails. A loaded kubelet takes more than a minute to take an ended pod away."""


def until(condition: Callable[[], T], missing: Callable[[], object]) -> T:
    """The condition's value as soon as it is true. ``missing`` tells what is there instead after ``PATIENCE``."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {PATIENCE} s: {missing()}")
        time.sleep(0.1)
    return value
