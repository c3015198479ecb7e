"""A worker pod takes its share of every fit of its launch, and exits when the coordinator is done or lost."""

from __future__ import annotations

import hashlib
import json
import socket
import tempfile
import time
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import Refused, Unavailable
from pipelines.messages.pod_run import MANIFEST
from pipelines.ports import Ports, Store
from pipelines.spec.fault_text import fault_texts
from pipelines.steps.training.distributed_processes import Ranks, describe_exit
from pipelines.steps.training.distributed_rank import PEER_WAIT_SECONDS
from pipelines.steps.training.distributed_work import INVITATION_FILE, REPORTS_FOLDER, RESUME, WORK, Invitation

WAIT_SECONDS = 600.0
"""How long a worker waits to be invited: the coordinator's pod may have to wait for a node and an image."""
POLL_SECONDS = 1.0


def join_training(
    run: str, ports: Ports, *, wait_seconds: float = WAIT_SECONDS, peer_wait_seconds: float = PEER_WAIT_SECONDS
) -> None:
    """Wait for ``<run>/workers.json``, take part, and return when the coordinator needs no more.

    ``run``: the path of the launch in the store. ``Unavailable`` if no invitation comes for ``wait_seconds``, or the
    coordinator or another worker is lost; ``Refused`` as a training of one worker.
    """
    done = 0
    while invitation := _await_invitation(run, ports.store, done, wait_seconds):
        _run_session(run, invitation, ports, peer_wait_seconds)
        done = invitation.session
        if invitation.last:
            return


def _await_invitation(run: str, store: Store, done: int, seconds: float) -> Invitation | None:
    """The next session's; None if the launch is over without one."""
    deadline = time.monotonic() + seconds
    path = f"{run}/{INVITATION_FILE}"
    while True:
        if store.exists(path):
            try:
                invitation = Invitation.model_validate_json(store.get(path))
            except ValidationError as error:
                raise Refused(
                    f"{path} is not an invitation; do all pods of the launch run the same image?", fault_texts(error)
                ) from error
            if invitation.session > done:
                return invitation
        if store.exists(f"{run}/{MANIFEST}"):  # written last by the coordinator's pod: the launch is over
            return None
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"{path} did not appear in {seconds:g} s: the coordinator of the training does not answer"
            )
        time.sleep(POLL_SECONDS)


def _run_session(run: str, invitation: Invitation, ports: Ports, peer_wait_seconds: float) -> None:
    task = f"worker-{socket.gethostname()}"
    with tempfile.TemporaryDirectory(prefix="airworthy-rank-") as name, Ranks() as ranks:
        folder = Path(name)
        (folder / WORK).write_text(invitation.work.model_dump_json(), encoding="utf-8")
        if invitation.work.resume:
            content = ports.store.get(f"{run}/{RESUME}")
            if hashlib.sha256(content).hexdigest() != invitation.work.resume.sha256:
                raise Unavailable(f"{run}/{RESUME} is not the checkpoint that the invitation names")
            (folder / RESUME).write_bytes(content)
        environment = {"AIRWORTHY_STORE": ports.settings.store}
        ranks.start(task, folder, invitation.host, invitation.port, peer_wait_seconds, environment)
        while received := ranks.next_event():
            _, event = received
            if "refused" in event:
                report = f"{run}/{REPORTS_FOLDER}{task}.json"
                ports.store.put(report, json.dumps(event).encode())
                raise Refused(event["refused"], event["reasons"])
            if "done" in event:
                ranks.wait_to_end()
                return
            if "unavailable" in event:
                raise Unavailable(event["unavailable"])
            if "ended" in event:
                how = describe_exit(event["ended"])
                raise Unavailable(f"{task} ended with {how}: lost the coordinator or a worker, or ran out of memory")
