"""Rival processes of a test are forks of one that has imported what they need, so that they meet at once."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext


def rival_context(module: str) -> ForkServerContext:
    """For processes that run functions of this test module. The first module that asks in a process is imported ahead.

    What is imported ahead must start no thread while it is imported. A process inherits the environment that was set
    when the first one was started.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return context
