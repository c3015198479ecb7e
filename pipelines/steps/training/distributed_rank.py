"""One rank of a distributed training: XGBoost's collective sums the histograms, so all ranks grow the same trees.

The engine is XGBoost's own (``xgboost.collective``). It may end the whole process when a peer is lost, therefore a
rank is never the process of the step: ``distributed_processes`` starts it, and reads the events that it sends.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

from pipelines.errors import Refused, Unavailable
from pipelines.ports import Store
from pipelines.steps.snapshot.split import PARTS
from pipelines.steps.training.boosting import BoostingResult, boost, matrix
from pipelines.steps.training.boosting_plan import BoostingPlan, plan_boosting
from pipelines.steps.training.checkpoints import CheckpointIndex
from pipelines.steps.training.device import require_cuda
from pipelines.steps.training.distributed_work import DONE, MODEL, RESUME, WORK, SharedWork
from pipelines.steps.training.fitting import EncodedPart
from pipelines.steps.training.snapshot import Snapshot, encode_part, open_snapshot

COORDINATOR_TASK = "0"
"""Task of the rank that runs the tracker; ranks are numbered in the order of the tasks' names, so it is rank 0."""
PEER_WAIT_SECONDS = 600
"""How long a rank waits for its peers, when it joins and in every sum, before it gives up."""
_trackers: list[RabitTracker] = []
"""Referenced until the process ends: a tracker that is deleted after a loss prints pages of errors."""
SendEvent = Callable[[Mapping[str, Any]], None]


def run_rank(folder: Path, host: str, port: int, task: str, store: Store, send: SendEvent, wait_seconds: int) -> None:
    """Do one rank's share of the work in ``folder``. Rank 0 writes ``model.ubj`` and ``done.json`` there.

    ``send`` is called with ``{"tracker": ...}``, ``{"joined": rank}``, ``{"round": ...}``, ``{"checkpoint": ...}`` and
    ``{"done": rounds}``, after which nothing is lost if the process ends.
    ``Unavailable`` if a peer is lost or silent for ``wait_seconds``; ``Refused`` as a training of one worker.
    """
    work = SharedWork.model_validate_json((folder / WORK).read_bytes())
    if work.device == "cuda":
        require_cuda(f"worker {task} of {work.model}")
    tracker = _start_tracker(work.workers, host) if task == COORDINATOR_TASK else None
    if tracker:
        host, port = str(tracker.worker_args()["dmlc_tracker_uri"]), int(tracker.worker_args()["dmlc_tracker_port"])
        send({"tracker": {"host": host, "port": port}})
    communicator: dict[str, Any] = {
        "dmlc_communicator": "rabit",
        "dmlc_tracker_uri": host,
        "dmlc_tracker_port": port,
        "dmlc_task_id": task,
        "dmlc_timeout": wait_seconds,
        "dmlc_retry": 3,
        **({"dmlc_nccl_path": nccl_library()} if work.device == "cuda" else {}),
    }
    try:
        collective.init(**communicator)
        send({"joined": collective.get_rank()})
        done = _train_on_share(folder, work, store, send)
        if collective.get_rank() == 0:
            _write_result(folder, done)
        send({"done": done.rounds})
        collective.finalize()  # not after a fault: it would wait for the others
        if tracker:
            tracker.wait_for(wait_seconds)  # a peer retries its sign-off for minutes if the tracker is gone
    except xgb.core.XGBoostError as error:
        text = " ".join(str(error).partition("Stack")[0].split())
        if "/collective/" in text:
            raise Unavailable(f"worker {task} lost the others: {text[:600]}") from error
        raise Refused("XGBoost does not accept the declared training", [text]) from error


def rows_of_rank(snapshot: Snapshot, part: str, work: SharedWork, rank: int) -> EncodedPart:
    """The rank's rows of a part: every ``workers``-th, so that shares have like times and targets.

    In memory are the share and one batch. ``Refused`` for a part of fewer rows than workers.
    """
    features, total = work.features, snapshot.record.parts[part].rows
    if total < work.workers:
        raise Refused(f"part {part!r} has {total} rows for {work.workers} workers; set fewer workers")
    size = len(range(rank, total, work.workers))
    rows, target = np.empty((size, len(features)), dtype=np.float32), np.empty(size)
    seen = filled = 0
    for batch in snapshot.batches(part, [*(feature.name for feature in features), "target"]):
        own = encode_part(batch.gather_every(work.workers, (rank - seen) % work.workers), features)
        end = filled + len(own.target)
        rows[filled:end], target[filled:end] = own.rows, own.target
        seen, filled = seen + batch.height, end
    if (seen, filled) != (total, size):
        raise Refused(f"part {part!r} has {seen} rows, its record says {total}; take the snapshot again")
    return EncodedPart(rows, target)


def nccl_library() -> str:
    """Path of NCCL, by which GPUs sum the histograms. ``Refused`` where there is none."""
    package = importlib.util.find_spec("nvidia.nccl") if importlib.util.find_spec("nvidia") else None
    for root in (package.submodule_search_locations or []) if package else []:
        library = Path(root, "lib", "libnccl.so.2")
        if library.exists():
            return str(library)
    try:
        ctypes.CDLL("libnccl.so.2")
    except OSError as error:
        reasons = [str(error), "add the package nvidia-nccl-cu12 to the image, or set workers: 1 or gpus: 0"]
        raise Refused("several workers with GPUs need NCCL, and it is not installed here", reasons) from error
    return "libnccl.so.2"


def _start_tracker(workers: int, host: str) -> RabitTracker:
    tracker = RabitTracker(n_workers=workers, host_ip=host, sortby="task")
    tracker.start()
    _trackers.append(tracker)
    return tracker


def _train_on_share(folder: Path, work: SharedWork, store: Store, send: SendEvent) -> BoostingResult:
    rank = collective.get_rank()
    plan = plan_boosting(work.training, work.problem, work.seed, work.device, work.rates)
    train, held_out = _matrices(plan, work, rank, open_snapshot(store, work.model, work.snapshot))
    send_first = send if rank == 0 else _ignore_event
    return boost(
        plan,
        train,
        held_out,
        checkpoints=_CoordinatorCheckpoints(folder, work, send_first, rank == 0),
        on_round=lambda number, scores, rate: send_first({"round": number, "scores": dict(scores), "rate": rate}),
    )


def _matrices(
    plan: BoostingPlan, work: SharedWork, rank: int, snapshot: Snapshot
) -> tuple[xgb.DMatrix, xgb.DMatrix | None]:
    """Each part's rows are freed as soon as they are quantised. A fit on all parts has nothing to validate on."""

    def quantised(parts: Sequence[str], reference: xgb.DMatrix | None) -> xgb.DMatrix:
        shares = [rows_of_rank(snapshot, part, work, rank) for part in parts if snapshot.record.parts[part].rows]
        rows, target = (np.concatenate(arrays) for arrays in zip(*[(s.rows, s.target) for s in shares], strict=True))
        return matrix(plan, rows, target, reference)

    if work.rates is not None:
        return quantised(PARTS, None), None
    train = quantised(["train"], None)
    return train, quantised(["validation"], train if plan.quantile else None)


def _ignore_event(event: Mapping[str, Any]) -> None:
    """All ranks have the same scores; rank 0 alone sends them."""
    del event


def _write_result(folder: Path, done: BoostingResult) -> None:
    facts = {
        "rounds": done.rounds,
        "best_round": done.best_round,
        "resumed_from_round": done.resumed_from_round,
        "curves": done.curves,
        "learning_rates": done.learning_rates,
    }
    (folder / DONE).write_text(json.dumps(facts), encoding="utf-8")
    (folder / MODEL).write_bytes(bytes(done.booster.save_raw("ubj")))


@dataclass(frozen=True)
class _CoordinatorCheckpoints:
    """Reads the checkpoint that the coordinator wrote; rank 0 sends new ones, which the coordinator stores."""

    folder: Path
    work: SharedWork
    send: SendEvent
    is_first: bool

    def newest(self) -> tuple[bytes, CheckpointIndex] | None:
        if self.work.resume is None:
            return None
        content = (self.folder / RESUME).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.work.resume.sha256:
            raise Unavailable(
                "the checkpoint is not the one that the coordinator wrote; the next attempt reads it again"
            )
        return content, self.work.resume.index

    def save(self, content: bytes, curves: dict[str, list[float]], learning_rates: list[float], score: float) -> None:
        del curves  # sent round by round
        if self.is_first:
            path = self.folder / f"round-{len(learning_rates):06d}.ubj"
            path.write_bytes(content)
            self.send({"checkpoint": path.name, "score": score})
