"""One installation is described by a handful of environment variables, read in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseModel):
    """Where the outside things are. Every field has a default that works on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    """Everything the embedded stack writes lies below it (``var/`` of the checkout)."""
    include: Path
    """The folder of declarations: models, features, datasets, expectations."""
    store: str
    """Root URI of the store: a folder path or ``s3://bucket/prefix``."""
    ledger: str
    """SQLAlchemy URL of the ledger."""
    tracking: str
    """MLflow tracking and registry URI."""
    gateway: str
    """Base URL of the gateway's public listener."""
    gateway_admin: str
    """Base URL of the gateway's admin listener (never public)."""
    runner: str = "process"
    """Where steps run: ``process`` or ``kubernetes``."""
    actor: str = "airworthy"
    """Who is named in the ledger when no person acts."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``AIRWORTHY_*`` and ``MLFLOW_TRACKING_URI``; what is not set gets the embedded default."""
        env = os.environ if environment is None else environment
        home = Path(env.get("AIRWORTHY_HOME", REPOSITORY / "var")).resolve()
        return cls(
            home=home,
            include=Path(env.get("AIRWORTHY_INCLUDE", REPOSITORY / "include")).resolve(),
            store=env.get("AIRWORTHY_STORE", str(home / "store")),
            ledger=env.get("AIRWORTHY_LEDGER", f"sqlite:///{home / 'ledger' / 'ledger.db'}"),
            tracking=env.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5500"),
            gateway=env.get("AIRWORTHY_GATEWAY", "http://127.0.0.1:8900"),
            gateway_admin=env.get("AIRWORTHY_GATEWAY_ADMIN", "http://127.0.0.1:8901"),
            runner=env.get("AIRWORTHY_RUNNER", "process"),
            actor=env.get("AIRWORTHY_ACTOR", "airworthy"),
        )
