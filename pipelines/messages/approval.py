"""What a person answered, to which question, about which bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message


class ApprovalAnswer(Message):
    """One answer to one request, as the ledger keeps it."""

    role: str
    slot: int
    """Number of the request among those of the run."""
    choice: Literal["approve", "reject", "expired"]
    person: str | None = None
    """The id under which Airflow knows who answered; None: nobody did, or Airflow does not say who."""
    name: str | None = None
    at: datetime
    until: datetime
    """An answer after this moment counts as none."""
    rollout_id: str
    model_digest: str
    sha256: str
    """Digests of model and bundle that the form showed."""
    form: str
    """sha256 of the text that was shown; the text lies in the store under this name."""
    request: str
    """Digest of the ledger's line of the request that was answered."""
    comment: str = ""


class ApprovalReceipt(Message):
    """What a request hands over: where its answer stands in the ledger."""

    line: str
    """Digest of the ledger's line."""
    role: str
    choice: str
    person: str | None = None
