"""Trains a registered version again from its own record and compares the digests; nothing is registered."""

from __future__ import annotations

import hashlib

from pipelines.messages.training import ReproduceRequest, ReproduceResult
from pipelines.ports import Ports
from pipelines.steps.models.registered_model import JUDGED_DIGEST_TAG
from pipelines.steps.training.device import require_cuda
from pipelines.steps.training.environment import environment
from pipelines.steps.training.plan import TrainingPlan, execute_plan, make_worker_team
from pipelines.steps.training.registration import model_digest_of
from pipelines.steps.training.snapshot import open_snapshot
from pipelines.steps.training.training_record import read_training_record


def run(request: ReproduceRequest, ports: Ports) -> ReproduceResult:
    """Execute the version's plan again without checkpoints; a search is replaced by its recorded result.

    ``Refused`` if the version has no record of its training, or its snapshot is gone or altered, or it was trained on
    a CUDA device and none answers.
    """
    info = ports.registry.get(request.model, request.version)
    registered = model_digest_of(info)
    plan, recorded, best_trial = read_training_record(info, ports)
    if plan.device == "cuda":
        require_cuda(f"reproducing {request.model} version {request.version}, which was trained on one,")
    snapshot = open_snapshot(ports.store, request.model, plan.request.snapshot)
    trained = execute_plan(plan, snapshot, best_trial=best_trial, team=make_worker_team(plan, ports, None))
    return ReproduceResult(
        model=request.model,
        version=request.version,
        registered_digest=registered,
        reproduced_digest=_sha256(trained.deployed.native),
        registered_judged_digest=info.tags.get(JUDGED_DIGEST_TAG),
        reproduced_judged_digest=_sha256(trained.fitted.native) if trained.refitted else None,
        snapshot=plan.request.snapshot,
        differences=recorded.differences(environment()) + _declaration_changes(plan, ports),
    )


def _sha256(native: bytes) -> str:
    return hashlib.sha256(native).hexdigest()


def _declaration_changes(plan: TrainingPlan, ports: Ports) -> list[str]:
    """Where today's declaration differs from the recorded one, which the reproduction used."""
    spec = ports.catalog.models.get(plan.request.model)
    if spec is None:
        return [f"the declaration of {plan.request.model} was removed; the recorded one was used"]
    then, now = plan.training.model_dump(), spec.training.model_dump()
    return [
        f"training.{name}: {then.get(name)} then, {now.get(name)} declared now (the recorded value was used)"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
