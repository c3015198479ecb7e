"""Reads the facts of a pod (``V1Pod``) that rules judge, from the blocking or the asynchronous client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.rules.pod_end import PodFacts
from practices._pods.plan import CONTAINER


def facts_of(pod: Any, warnings: Sequence[str] = ()) -> PodFacts:
    """Facts of a ``V1Pod`` of the blocking or of the asynchronous client."""
    status = pod.status
    place = next((one for one in status.conditions or [] if one.type == "PodScheduled"), None)
    container = next((one for one in status.container_statuses or [] if one.name == CONTAINER), None)
    state = container.state if container else None
    waiting, running, over = (state and getattr(state, name) for name in ("waiting", "running", "terminated"))
    return PodFacts(
        name=pod.metadata.name,
        created=pod.metadata.creation_timestamp,
        phase=status.phase or "Pending",
        reason=status.reason,
        message=status.message,
        scheduled=place.last_transition_time if place and place.status == "True" else None,
        unscheduled=place.message if place and place.status == "False" else None,
        gated=bool(place and place.reason == "SchedulingGated"),
        waiting=waiting.reason if waiting else None,
        waiting_message=waiting.message if waiting else None,
        started=running.started_at if running else over.started_at if over else None,
        finished=over.finished_at if over else None,
        exit_code=over.exit_code if over else None,
        ended=over.reason if over else None,
        termination_message=over.message if over else None,
        warnings=list(warnings),
        image_id=container.image_id if container else None,
    )


def phases(facts: PodFacts) -> str:
    """``schedule 0 s, start 2 s, run 31 s``: where a pod's time went, as far as it came (to whole seconds)."""
    spans = (
        ("schedule", facts.created, facts.scheduled),
        ("start", facts.scheduled, facts.started),
        ("run", facts.started, facts.finished),
    )
    return ", ".join(f"{name} {(end - begin).total_seconds():.0f} s" for name, begin, end in spans if begin and end)
