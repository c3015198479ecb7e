"""Reads from the ledger the digests of a version's files: the registry's own tags prove nothing about its files."""

from __future__ import annotations

from pydantic import ValidationError

from pipelines.errors import Refused
from pipelines.messages.training import ModelDigests
from pipelines.ports import Ports


def recorded_digests(model: str, version: str, ports: Ports) -> ModelDigests:
    """Digests of the last training of this version. ``Refused`` if the ledger has none."""
    lines = ports.ledger.entries(model=model, version=version, kind="training")
    if not lines:
        known = sorted({line.version for line in ports.ledger.entries(model=model, kind="training") if line.version})
        raise Refused(
            f"the ledger has no training of {model} version {version}",
            [f"trained were versions {', '.join(known)}" if known else f"no version of {model} was trained yet"]
            + ["a version that was registered by other means is never loaded; train it by its train DAG"],
        )
    recorded = {name: lines[-1].details.get(name) for name in ("model_digest", "folder_digest", "snapshot")}
    try:
        return ModelDigests(**recorded)
    except ValidationError as error:
        reason = f"line {lines[-1].number} on its training names {recorded}; train it again"
        raise Refused(f"the ledger has no digest of the model file of {model} version {version}", [reason]) from error
