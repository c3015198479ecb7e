"""Reads the facts of a pod (``V1Pod``) that rules judge, from the blocking or the asynchronous client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.rules.pod_end import PodFacts
from practices._pods.plan import CONTAINER


def pod_facts(pod: Any, warnings: Sequence[str] = ()) -> PodFacts:
    """Facts of a ``V1Pod`` of the blocking or of the asynchronous client."""
    status = pod.status
    scheduled = next((condition for condition in status.conditions or [] if condition.type == "PodScheduled"), None)
    container = next((entry for entry in status.container_statuses or [] if entry.name == CONTAINER), None)
    state = container.state if container else None
    waiting, running, terminated = (state and getattr(state, name) for name in ("waiting", "running", "terminated"))
    return PodFacts(
        name=pod.metadata.name,
        created=pod.metadata.creation_timestamp,
        phase=status.phase or "Pending",
        reason=status.reason,
        message=status.message,
        scheduled=scheduled.last_transition_time if scheduled and scheduled.status == "True" else None,
        unscheduled=scheduled.message if scheduled and scheduled.status == "False" else None,
        gated=bool(scheduled and scheduled.reason == "SchedulingGated"),
        waiting=waiting.reason if waiting else None,
        waiting_message=waiting.message if waiting else None,
        started=running.started_at if running else terminated.started_at if terminated else None,
        finished=terminated.finished_at if terminated else None,
        exit_code=terminated.exit_code if terminated else None,
        ended=terminated.reason if terminated else None,
        termination_message=terminated.message if terminated else None,
        warnings=list(warnings),
        image_id=container.image_id if container else None,
    )


def phase_durations(facts: PodFacts) -> str:
    """``schedule 0 s, start 2 s, run 31 s``: whole seconds of the phases that the pod has completed."""
    spans = (
        ("schedule", facts.created, facts.scheduled),
        ("start", facts.scheduled, facts.started),
        ("run", facts.started, facts.finished),
    )
    return ", ".join(f"{name} {(end - begin).total_seconds():.0f} s" for name, begin, end in spans if begin and end)
