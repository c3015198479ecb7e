"""A person's answer to an approval request, with the digests that it approves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message


class ApprovalAnswer(Message):
    """One answer to one request, as written to the ledger."""

    role: str
    slot: int
    """Number of the request among those of the run."""
    choice: Literal["approve", "reject", "expired"]
    person: str | None = None
    """Airflow's id of the person who answered; None: nobody did, or Airflow gives no id."""
    name: str | None = None
    at: datetime
    until: datetime
    """An answer after this moment counts as none."""
    rollout_id: str
    model_digest: str
    sha256: str
    """Digests of model and bundle that the form showed."""
    form: str
    """sha256 of the form's text; the store has the text under this name."""
    request: str
    """Digest of the ledger's line of the request that was answered."""
    comment: str = ""


class ApprovalReceipt(Message):
    """The result of a request: a reference to its answer in the ledger."""

    line: str
    """Digest of the ledger's line."""
    role: str
    choice: str
    person: str | None = None
