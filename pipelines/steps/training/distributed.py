"""The coordinator of a distributed training: the same plan, rows and number of workers give the same bytes.

The step is the coordinator. Rank 0 runs on its machine in a process of its own; the other ranks are pods that were
started for the launch (``worker.join``) or, without a launch, further processes on this machine. Checkpoints and
curves are kept by the coordinator alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xgboost as xgb

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.ports import Store
from pipelines.steps.training.boosting import BoostingResult, OnRound
from pipelines.steps.training.boosting_plan import plan_boosting
from pipelines.steps.training.checkpoints import Checkpoints
from pipelines.steps.training.distributed_processes import Ranks, describe_exit
from pipelines.steps.training.distributed_rank import COORDINATOR_TASK, PEER_WAIT_SECONDS
from pipelines.steps.training.distributed_work import (
    DONE,
    INVITATION_FILE,
    MODEL,
    REPORTS_FOLDER,
    RESUME,
    WORK,
    Invitation,
    ResumePoint,
    SharedWork,
)
from pipelines.steps.training.fitting import FittedModel, to_fitted_model
from pipelines.tables.encoding import FeatureInput

JOIN_SECONDS = 600.0
"""How long the coordinator waits for all workers: a pod may have to wait for a node and an image."""
GRACE_SECONDS, POD_GRACE_SECONDS = 3.0, 10.0
"""Wait for another rank to report the cause after one is lost: a process directly, a pod by the store."""
LOOPBACK = "127.0.0.1"
log = logging.getLogger(__name__)


@dataclass
class WorkerTeam:
    """The workers of one launch. ``run``: its folder in the store; None: all workers are processes on this machine.

    ``root``: the store's root as in the environment (``Settings.store``).
    """

    store: Store
    root: str
    run: str | None
    join_seconds: float = JOIN_SECONDS
    peer_wait_seconds: float = PEER_WAIT_SECONDS
    _sessions: int = field(default=0, init=False)

    def fit(
        self,
        work: SharedWork,
        features: list[FeatureInput],
        *,
        checkpoints: Checkpoints | None = None,
        on_round: OnRound | None = None,
        last: bool = True,
    ) -> FittedModel:
        """Fit as ``fitting.fit`` does. ``last``: no other fit of the launch follows.

        ``Unavailable`` if the workers do not all join in ``join_seconds``, or one of them is lost: the next attempt
        resumes from the newest checkpoint.
        """
        self._sessions += 1
        checkpoint = checkpoints.newest() if checkpoints else None
        with tempfile.TemporaryDirectory(prefix="airworthy-ranks-") as name, Ranks() as ranks:
            folder = Path(name)
            if checkpoint:
                content, index = checkpoint
                (folder / RESUME).write_bytes(content)
                resume = ResumePoint(sha256=hashlib.sha256(content).hexdigest(), index=index)
                work = work.model_copy(update={"resume": resume})
            (folder / WORK).write_text(work.model_dump_json(), encoding="utf-8")
            host = LOOPBACK if self.run is None else own_address()
            self._start(ranks, COORDINATOR_TASK, folder, host, 0, work)
            self._process_events(ranks, folder, work, last, checkpoints, on_round)
            ranks.wait_to_end()
            done = _read_result(folder)
        plan = plan_boosting(work.training, work.problem, work.seed, work.device, work.rates)
        return to_fitted_model(done, plan, features)

    def _start(self, ranks: Ranks, task: str, folder: Path, host: str, port: int, work: SharedWork) -> None:
        root = self._store_for_ranks(folder, work) if self.run is None else self.root
        environment = {"AIRWORTHY_STORE": root}
        if self.run is None and work.device == "cuda":
            environment["CUDA_VISIBLE_DEVICES"] = _visible_device(int(task))
        ranks.start(task, folder, host, port, self.peer_wait_seconds, environment)

    def _process_events(
        self,
        ranks: Ranks,
        folder: Path,
        work: SharedWork,
        last: bool,
        checkpoints: Checkpoints | None,
        on_round: OnRound | None,
    ) -> None:
        """Process the events of the ranks until rank 0 is done."""
        curves: dict[str, list[float]] = {}
        rates: list[float] = []
        if work.resume:
            index = work.resume.index
            curves, rates = {name: list(values) for name, values in index.curves.items()}, list(index.learning_rates)
        deadline: float | None = time.monotonic() + self.join_seconds
        while True:
            received = ranks.next_event(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if received is None:
                raise Unavailable(
                    f"the {work.workers} workers of {work.model} did not all join in {self.join_seconds:g} s; "
                    "check that the pods of the other workers were scheduled, and read their logs"
                )
            task, event = received
            if "tracker" in event:
                self._start_other_workers(ranks, folder, work, last, event["tracker"])
            elif task == COORDINATOR_TASK and "joined" in event:
                deadline = None
                log.info("all %d workers of %s have joined", work.workers, work.model)
            elif "round" in event:
                for name, value in event["scores"].items():
                    curves.setdefault(name, []).append(value)
                rates.append(event["rate"])
                if on_round:
                    on_round(event["round"], event["scores"], event["rate"])
            elif "checkpoint" in event:
                path = folder / event["checkpoint"]
                if checkpoints:
                    checkpoints.save(path.read_bytes(), curves, rates, event["score"])
                path.unlink()
            elif task == COORDINATOR_TASK and "done" in event:
                return
            elif "refused" in event:
                raise Refused(event["refused"], event["reasons"])
            elif "unavailable" in event or event.get("ended"):
                raise self._lost_worker_error(ranks, work, task, event, len(rates))

    def _start_other_workers(
        self, ranks: Ranks, folder: Path, work: SharedWork, last: bool, tracker: Mapping[str, Any]
    ) -> None:
        host, port = str(tracker["host"]), int(tracker["port"])
        if self.run is None:
            for number in range(1, work.workers):
                self._start(ranks, str(number), folder, host, port, work)
            return
        if work.resume:
            self.store.put(f"{self.run}/{RESUME}", (folder / RESUME).read_bytes())
        invitation = Invitation(session=self._sessions, last=last, host=host, port=port, work=work)
        self.store.put(f"{self.run}/{INVITATION_FILE}", invitation.model_dump_json().encode())

    def _lost_worker_error(
        self, ranks: Ranks, work: SharedWork, task: str, event: Mapping[str, Any], rounds: int
    ) -> Refused | Unavailable:
        """The error for a lost rank, with the cause if any rank still reports it."""
        reason = str(event.get("unavailable", ""))
        deadline = time.monotonic() + (GRACE_SECONDS if self.run is None else POD_GRACE_SECONDS)
        while time.monotonic() < deadline:
            for report in self._read_worker_reports():
                if "refused" in report:
                    return Refused(report["refused"], report["reasons"])
            received = ranks.next_event(0.5)
            if received and "refused" in received[1]:
                return Refused(received[1]["refused"], received[1]["reasons"])
            if received and received[1].get("ended") and not reason and task == COORDINATOR_TASK:
                task, event = received
        how = reason or f"worker {task} ended with {describe_exit(int(event['ended']))}"
        return Unavailable(
            f"the shared training of {work.model} lost a worker after {rounds} rounds: {how}; "
            "the next attempt resumes from the newest checkpoint"
        )

    def _read_worker_reports(self) -> list[dict[str, Any]]:
        """Reports that workers in pods wrote to the store before they ended."""
        if self.run is None:
            return []
        return [json.loads(self.store.get(path)) for path in self.store.list(f"{self.run}/{REPORTS_FOLDER}")]

    def _store_for_ranks(self, folder: Path, work: SharedWork) -> str:
        """A root that a process on this machine reaches without credentials: the store itself or a copy of the rows."""
        prefix = store_paths.snapshot(work.model, work.snapshot, "")
        paths = self.store.list(prefix)
        if "://" not in self.root and all(Path(self.root, path).is_file() for path in paths):
            return self.root
        root = folder / "store"
        for path in paths:
            if not (root / path).exists():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(self.store.get(path))
        return str(root)


def own_address() -> str:
    """The address at which other pods reach this one. ``Unavailable`` if it has none but the loopback's."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError as error:
        raise Unavailable(f"the address of {socket.gethostname()} is not known here: {error}") from error
    if address.startswith("127."):
        raise Unavailable(
            f"{socket.gethostname()} is {address}: no other pod reaches it; do not use the host's network"
        )
    return address


def _visible_device(place: int) -> str:
    """The GPU of one of several processes on this machine: the first visible one to rank 0, and so on."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if not visible:
        return str(place)
    return visible[place] if place < len(visible) else ""


def _read_result(folder: Path) -> BoostingResult:
    facts = json.loads((folder / DONE).read_text(encoding="utf-8"))
    return BoostingResult(booster=xgb.Booster(model_file=bytearray((folder / MODEL).read_bytes())), **facts)
