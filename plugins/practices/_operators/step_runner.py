"""Runs a step in the task's own process or in a pod: the request and the type of the result are the same."""

from __future__ import annotations

import logging
import time
from typing import TypeVar

from pipelines.errors import Refused
from pipelines.messages.message import Message
from pipelines.settings import let_waiting_threads_sleep
from pipelines.spec.runner import StageRunner
from practices._connections import installation

Result = TypeVar("Result", bound=Message)
NOISY_LIBRARIES = ("great_expectations", "alembic", "mlflow.store.db", "evidently")
"""Libraries whose INFO messages are kept out of the task's log."""
log = logging.getLogger(__name__)


def run_step(step: str, request: Message, result: type[Result], *, runner: StageRunner | None = None) -> Result:
    """Run a step where ``runner`` says (None: the installation's setting) and return its result.

    ``process`` runs it here, in the task's own process; ``kubernetes`` in a pod, for which the task is deferred (see
    ``_pods``). Raises what the step raises (``Refused``, ``Unavailable``).
    """
    runner_kind = (runner and runner.on) or installation.open_ports().settings.runner
    if runner_kind not in ("process", "kubernetes"):
        raise Refused(f"AIRWORTHY_RUNNER {runner_kind!r} is not a runner", ["set it to process or to kubernetes"])
    log.debug("%s: %s", step, request.model_dump_json(by_alias=True))
    started = time.monotonic()
    if runner_kind == "kubernetes":
        from practices._pods.run import run_in_pod

        return result.model_validate_json(run_in_pod(step, request, runner or StageRunner()))
    answer = _run_in_process(step, request)
    if not isinstance(answer, result):
        raise TypeError(f"step {step} returned {type(answer).__name__}, not {result.__name__}")
    log.info("%s: done in %.2f s", step, time.monotonic() - started)
    return answer


def _run_in_process(step: str, request: Message) -> Message:
    from pipelines import wiring

    let_waiting_threads_sleep()
    for library in NOISY_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    return wiring.run_step(step, request.model_dump_json(by_alias=True), installation.open_ports())
