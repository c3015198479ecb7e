"""`monitoring.live_inputs`: from which shares of the callers' rows a live version's inputs count as faulty."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipelines.spec.declared import DeclarationBlock


class LiveInputs(DeclarationBlock):
    """Limits of what callers send. Windows of time are those of ``monitoring.drift.window_days``."""

    minimum_rows: int = Field(default=200, ge=1)
    """Rows of callers from which they are judged: those of the newest days that together have so many."""
    max_invalid_share: float = Field(default=0.01, ge=0, le=1)
    """Largest share of rows with a value beyond the view's ``minimum`` or ``maximum``."""
    max_skew_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of rows whose value differs from the one in the offline feature table for the same entity."""
    recent_rows: int = Field(default=1000, ge=100)
    """The newest rows, which are compared with the ``former_rows`` before them."""
    former_rows: int = Field(default=10_000, ge=100)

    @model_validator(mode="after")
    def check_windows(self) -> Self:
        if self.former_rows < self.recent_rows:
            raise ValueError(f"former_rows {self.former_rows} is below recent_rows {self.recent_rows}; make it larger")
        return self
