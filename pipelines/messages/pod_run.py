"""The ticket that a task writes for its pod, and the manifest that the pod writes when it is done."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message

TICKET, RESULT, MANIFEST, LOG = "ticket.json", "result.json", "manifest.json", "log.txt"
"""Files of one launch, below ``store_paths.pod_run``."""


class RunTicket(Message):
    """``<run>/ticket.json``: the work of a pod. Written before the pod is created."""

    step: str
    request: str
    """The request as JSON text, so that its digest does not change."""
    declarations: str
    """Digest of the declarations that the pod uses."""
    workers: int = 1


class RunManifest(Message):
    """``<run>/manifest.json``, written last by the pod: its outcome. A launch without it has no valid result."""

    step: str
    request_sha256: str
    """sha256 of the ticket's request text."""
    declarations: str
    outcome: Literal["done", "refused", "unavailable"]
    subject: str | None = None
    reasons: list[str] = []
    """Each failing condition of a refusal."""
    result_sha256: str | None = None
    """sha256 of ``result.json``; None unless done."""
    started: datetime
    finished: datetime
    pod: str
