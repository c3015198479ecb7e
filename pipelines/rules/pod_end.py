"""Judges from the cluster's facts how a pod ended, or why it cannot start: done, refused or unavailable.

A pure function. ``refused``: a retry is useless until someone changes something; ``unavailable``: the cluster evicted
the pod or had no room, or its process crashed; a retry resumes from the last checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pipelines.errors import EXIT_REFUSED, EXIT_UNAVAILABLE
from pipelines.messages.node_message import is_transient
from pipelines.spec.runner import StageRunner

Kind = Literal["done", "refused", "unavailable"]
NODE_REASONS = {
    "Evicted", "Preempting", "Preempted", "Shutdown", "NodeShutdown", "NodeLost", "NodeAffinity", "Terminated",
    "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfnvidia.com/gpu", "UnexpectedAdmissionError",
}  # fmt: skip
"""Reasons of a failed pod that are about the node and not about the step."""
CONFIG_REASONS = {
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "ContainerCannotRun", "StartError",
    "InvalidImageName", "ErrImageNeverPull",
}  # fmt: skip
PULL_REASONS = {"ErrImagePull", "ImagePullBackOff"}
MISSING_IMAGE_HINTS = ("not found", "notfound", "unauthorized", "denied", "manifest unknown", "invalid reference")
UNSATISFIABLE_HINTS = ("node selector", "node affinity", "node(s) had taint", "untolerated taint")
"""Scheduler messages that no node of the requested kind exists; a full node has other messages."""
SIGKILL_CODE, SIGTERM_CODE = 137, 143


@dataclass(frozen=True)
class PodFacts:
    """One pod as the API server describes it; None if it does not say. Times are aware."""

    name: str
    created: datetime
    phase: str = "Pending"
    reason: str | None = None
    message: str | None = None
    scheduled: datetime | None = None
    unscheduled: str | None = None
    """The scheduler's message while it finds no node."""
    gated: bool = False
    """Whether a scheduling gate, such as a queue's, holds the pod back."""
    waiting: str | None = None
    waiting_message: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int | None = None
    ended: str | None = None
    """The container's reason, such as ``OOMKilled``."""
    termination_message: str | None = None
    """The container's termination message."""
    warnings: list[str] = field(default_factory=list)
    """Warning events, oldest first."""
    image_id: str | None = None


@dataclass(frozen=True)
class PodEnd:
    """``done`` says only that the step exited with 0: its result is in its manifest."""

    kind: Kind
    subject: str
    reasons: list[str] = field(default_factory=list)


def judge_pod(facts: PodFacts | None, name: str, runner: StageRunner, now: datetime) -> PodEnd | None:
    """The end of the pod ``name``, or None while it may still start or run. ``facts`` None: the pod does not exist."""
    if facts is None:
        subject = f"pod {name} does not exist: it was deleted, preempted, or lost with its node; a retry starts another"
        return PodEnd("unavailable", subject)
    if facts.phase in ("Succeeded", "Failed") or facts.exit_code is not None:
        return _classify_exit(facts, runner)
    if facts.started is None:
        return _classify_waiting(facts, runner, now)
    return None


def _classify_exit(facts: PodFacts, runner: StageRunner) -> PodEnd:
    pod, code = f"pod {facts.name}", facts.exit_code
    lines = [line for line in (facts.termination_message or facts.message or "").strip().splitlines() if line.strip()]
    if facts.reason in NODE_REASONS:
        return PodEnd("unavailable", f"{pod} was removed from its node ({facts.reason}): {facts.message}")
    if facts.reason == "DeadlineExceeded":
        hint = "raise timeout_minutes of the stage's runner; a training then resumes from its last checkpoint"
        return PodEnd("refused", f"{pod} ran longer than timeout_minutes {runner.timeout_minutes:g}", [hint])
    if facts.ended == "OOMKilled":
        hints = [f"memory: the step used more than its limit of {runner.memory} and was killed (exit code {code})"]
        hints += ["raise memory of the stage's runner, train out of core, or train on fewer days"]
        return PodEnd("refused", f"{pod} ran out of memory", hints)
    if facts.ended in CONFIG_REASONS:
        kind: Kind = "unavailable" if is_transient(facts.termination_message or facts.message) else "refused"
        return PodEnd(kind, f"{pod} could not start its container ({facts.ended})", lines)
    if code == 0 or (code is None and facts.phase == "Succeeded"):
        return PodEnd("done", f"{pod} is done")
    if code == EXIT_REFUSED:
        return PodEnd("refused", lines[0] if lines else f"{pod} refused", lines[1:])
    if code == EXIT_UNAVAILABLE:
        return PodEnd("unavailable", "\n".join(lines) or f"{pod} found something unavailable")
    if code in (SIGKILL_CODE, SIGTERM_CODE) or code is None:
        how = "killed" if code == SIGKILL_CODE else "terminated" if code == SIGTERM_CODE else f"lost ({facts.reason})"
        return PodEnd("unavailable", f"{pod} was {how} (exit code {code}); a retry resumes from the last checkpoint")
    return PodEnd("unavailable", f"{pod} failed with exit code {code}", lines[-20:])


def _classify_waiting(facts: PodFacts, runner: StageRunner, now: datetime) -> PodEnd | None:
    pod = f"pod {facts.name}"
    if facts.waiting in CONFIG_REASONS and not is_transient(facts.waiting_message):
        reasons = [facts.waiting_message or "the cluster gives no reason", *facts.warnings[-3:]]
        return PodEnd("refused", f"{pod} cannot start ({facts.waiting}); correct the stage's runner", reasons)
    if facts.scheduled is None:
        limit = timedelta(minutes=runner.schedule_minutes)
        return None if facts.gated or now - facts.created < limit else _classify_unscheduled(facts, runner)
    text = " ".join([facts.waiting_message or "", *facts.warnings])
    if facts.waiting in PULL_REASONS and any(hint in text.lower() for hint in MISSING_IMAGE_HINTS):
        return PodEnd("refused", f"{pod}: its image cannot be pulled; correct the image", _waiting_reasons(facts))
    if now - facts.scheduled < timedelta(minutes=runner.start_minutes):
        return None
    late = f"{pod} did not start within start_minutes {runner.start_minutes:g}"
    missing = any("not found" in warning for warning in facts.warnings)
    return PodEnd("refused" if missing else "unavailable", late, _waiting_reasons(facts))


def _classify_unscheduled(facts: PodFacts, runner: StageRunner) -> PodEnd:
    message = facts.unscheduled or "the scheduler gave no message"
    never = any(hint in message for hint in UNSATISFIABLE_HINTS) and "Insufficient" not in message
    request = f"cpus {runner.cpus:g}, memory {runner.memory}, gpus {runner.gpus}, node_selector {runner.node_selector}"
    subject = f"pod {facts.name} found no node within schedule_minutes {runner.schedule_minutes:g}"
    hint = "correct node_selector or tolerations, or add such a node" if never else "request less, or wait for room"
    return PodEnd(
        "refused" if never else "unavailable", subject, [f"scheduler: {message}", f"requested: {request}", hint]
    )


def _waiting_reasons(facts: PodFacts) -> list[str]:
    waiting = f"{facts.waiting}: {facts.waiting_message}" if facts.waiting else None
    return [reason for reason in (waiting, *facts.warnings[-5:]) if reason]
