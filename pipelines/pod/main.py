"""Runs the step that a ticket in the store names, and writes result and manifest beside the ticket.

``python -m pipelines <step> --run runs/…`` reads ``ticket.json`` and the declarations that it names from the store,
runs the step, and writes ``log.txt`` (as it goes), ``result.json`` and, last, ``manifest.json`` with the digests.
Exit codes are those of ``python -m pipelines``, and 143 after SIGTERM. A refusal, or something unavailable, is also in
the container's termination message; any other fault is in the log alone, and then there is no manifest.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pydantic import ValidationError

from pipelines.errors import AirworthyError, Refused
from pipelines.logs.output import configure
from pipelines.messages.pod_run import LOG, MANIFEST, RESULT, TICKET, RunManifest, RunTicket
from pipelines.pod.declarations import restore_declarations
from pipelines.pod.log import LogCopy
from pipelines.pod.run_seal import RUN_KEY, get_sealed, put_sealed
from pipelines.ports import Store
from pipelines.settings import Settings
from pipelines.spec.fault_text import fault_texts
from pipelines.wiring import RealPorts, open_ports, run_step

log = logging.getLogger(__name__)

WORKER_STEP = "work"
"""In place of a step: join the launch as one of its workers."""
EXIT_TERMINATED = 128 + signal.SIGTERM
TERMINATION_MESSAGE = Path("/dev/termination-log")
MAX_MESSAGE_BYTES = 4000
"""Kubernetes keeps 4096 bytes of a termination message."""
Outcome = Literal["done", "refused", "unavailable"]


def run_ticket(step: str, run: str) -> int:
    """Run the step of the ticket of ``run``; returns the exit code. ``run`` is a path in the store."""
    worker, key = step == WORKER_STEP, os.environ.pop(RUN_KEY, None)
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    os.environ["AIRWORTHY_RUN"] = run
    configure("step", step=step, run=run)
    log = f"{run}/{socket.gethostname()}.txt" if worker else f"{run}/{LOG}"
    with tempfile.TemporaryDirectory() as folder:
        ports = open_ports(Settings.from_environment().model_copy(update={"include": Path(folder)}))
        with LogCopy(ports.store, log):
            return _run_and_report(step, run, key, ports)


def _run_and_report(step: str, run: str, key: str | None, ports: RealPorts) -> int:
    """Run, and return the exit code; every exception is written to the log."""
    try:
        return _run_worker(run, key, ports) if step == WORKER_STEP else _run(step, run, key, ports)
    except AirworthyError as error:
        _write_termination_message(error)
        return error.exit_code
    except Exception:
        log.exception("step %s failed", step)
        return 1


def _run_worker(run: str, key: str | None, ports: RealPorts) -> int:
    """Take a share of the training that another pod of the same launch leads."""
    from pipelines.steps.training.worker import join_training

    ticket = _read_ticket(run, key, ports.store)
    restore_declarations(ports.store, ticket.declarations, ports.settings.include)
    join_training(run, ports)
    return 0


def _run(step: str, run: str, key: str | None, ports: RealPorts) -> int:
    store, started = ports.store, ports.clock()
    ticket = _read_ticket(run, key, store)
    if ticket.step != step:
        raise Refused(f"the ticket of {run} names {ticket.step}, the pod was started for {step}; start the task again")
    restore_declarations(store, ticket.declarations, ports.settings.include)
    result, error = _run_request(ticket, ports)
    if result is not None:
        store.put(f"{run}/{RESULT}", result)
    manifest = _manifest(ticket, result, error, started, ports.clock())
    put_sealed(store, f"{run}/{MANIFEST}", manifest.model_dump_json(by_alias=True, indent=1).encode(), key)
    if error is not None:
        _write_termination_message(error)
        return error.exit_code
    return 0


def _run_request(ticket: RunTicket, ports: RealPorts) -> tuple[bytes | None, AirworthyError | None]:
    """The result as JSON, or the error; any other exception is raised."""
    try:
        return run_step(ticket.step, ticket.request, ports).model_dump_json(by_alias=True).encode(), None
    except ValidationError as fault:
        return None, Refused(f"the ticket holds no request of {ticket.step}", fault_texts(fault, "(whole request)"))
    except AirworthyError as error:
        return None, error


def _read_ticket(run: str, key: str | None, store: Store) -> RunTicket:
    """A pod without a key was started by an earlier release, which sealed nothing."""
    path = f"{run}/{TICKET}"
    try:
        return RunTicket.model_validate_json(get_sealed(store, path, [key] if key else []))
    except ValidationError as fault:
        raise Refused(f"{path} is not a ticket; start the task again", fault_texts(fault)) from fault


def _manifest(
    ticket: RunTicket, result: bytes | None, error: AirworthyError | None, started: datetime, finished: datetime
) -> RunManifest:
    outcome: Outcome = "done" if error is None else "refused" if isinstance(error, Refused) else "unavailable"
    return RunManifest(
        step=ticket.step,
        request_sha256=hashlib.sha256(ticket.request.encode()).hexdigest(),
        declarations=ticket.declarations,
        outcome=outcome,
        subject=error.subject if isinstance(error, Refused) else error and str(error),
        reasons=error.reasons if isinstance(error, Refused) else [],
        result_sha256=None if result is None else hashlib.sha256(result).hexdigest(),
        started=started,
        finished=finished,
        pod=socket.gethostname(),
    )


def _write_termination_message(error: AirworthyError) -> None:
    """For a task that cannot reach the store: Kubernetes keeps this text with the pod."""
    print(error, file=sys.stderr, flush=True)
    if TERMINATION_MESSAGE.exists():
        TERMINATION_MESSAGE.write_text(str(error)[:MAX_MESSAGE_BYTES], encoding="utf-8")


def _exit_on_sigterm(number: int, frame: FrameType | None) -> Any:  # noqa: ARG001
    """The pod is deleted or evicted: raise ``SystemExit``, so that the log is written out."""
    raise SystemExit(EXIT_TERMINATED)
