"""A registered model version, as the registry has it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class VersionInfo(BaseModel):
    """One registered model version. ``version`` is MLflow's number as text, ``semantic`` MAJOR.MINOR.PATCH if given."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    run_id: str
    source: str
    semantic: str | None = None
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    metrics: dict[str, float] = {}
