"""The ticket that a task writes for its pod, and the manifest that the pod writes when it is done."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message

TICKET, RESULT, MANIFEST, LOG = "ticket.json", "result.json", "manifest.json", "log.txt"
"""Files of one launch, below ``store_paths.pod_run``."""


class RunTicket(Message):
    """``<run>/ticket.json``: what a pod is to do. Written before the pod is asked for."""

    step: str
    request: str
    """The request as JSON text, so that its bytes are the same everywhere."""
    declarations: str
    """Digest of the declarations to read it by."""
    workers: int = 1


class RunManifest(Message):
    """``<run>/manifest.json``, written last by the pod: what came of it. Without one nothing is believed."""

    step: str
    request_sha256: str
    """sha256 of the ticket's request text."""
    declarations: str
    outcome: Literal["done", "refused", "unavailable"]
    subject: str | None = None
    reasons: list[str] = []
    """Of a refusal, each failing condition."""
    result_sha256: str | None = None
    """sha256 of ``result.json``; None unless done."""
    started: datetime
    finished: datetime
    pod: str
