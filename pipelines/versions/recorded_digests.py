"""Reads from the ledger the digests of a version's files: the registry's own tags prove nothing about its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from pipelines.errors import Refused
from pipelines.ledger.seals import SEAL_KIND, read_seals, seal_of, sealed_evidence
from pipelines.messages.training import ModelDigests
from pipelines.ports import LedgerEntry, Ports

NAMED_BY_TRAINING = ("model_digest", "judged_digest", "folder_digest", "snapshot")
LATER_KINDS = ("gate", "approval", "release")
"""Lines that name the digest of the model file, too."""


def recorded_digests(model: str, version: str, ports: Ports) -> ModelDigests:
    """Digests of the last training of this version. ``Refused`` if the ledger has none.

    Where a repair of the ledger sealed that line, the model file's digest in the newest line that still proves it.
    """
    lines = ports.ledger.entries(model=model, version=version)
    seals = read_seals(ports.ledger.entries(kind=SEAL_KIND))
    sealed = sealed_evidence(model, version, seals)
    proven = [line for line in lines if not seal_of(line, seals)]
    trainings = [line for line in proven if line.kind == "training"]
    if not trainings and sealed:
        return _later_digest(model, version, proven, sealed)
    if not trainings:
        known = sorted({line.version for line in ports.ledger.entries(model=model, kind="training") if line.version})
        raise Refused(
            f"the ledger has no training of {model} version {version}",
            [f"trained were versions {', '.join(known)}" if known else f"no version of {model} was trained yet"]
            + ["a version that was registered by other means is never loaded; train it by its train DAG"],
        )
    recorded = {name: trainings[-1].details.get(name) for name in NAMED_BY_TRAINING}
    try:
        return ModelDigests(**recorded)
    except ValidationError as error:
        reason = f"line {trainings[-1].number} on its training names {recorded}; train it again"
        raise Refused(f"the ledger has no digest of the model file of {model} version {version}", [reason]) from error


def _later_digest(model: str, version: str, proven: Sequence[LedgerEntry], sealed: Sequence[str]) -> ModelDigests:
    naming = [line for line in proven if line.kind in LATER_KINDS and isinstance(line.details.get("model_digest"), str)]
    if not naming:
        raise Refused(f"nothing proves the files of {model} version {version}; train another version", sealed)
    digest = naming[-1].details["model_digest"]
    judged = [line.details.get("judged_digest") for line in naming if line.details["model_digest"] == digest]
    return ModelDigests(model_digest=digest, judged_digest=next((each for each in reversed(judged) if each), None))


def judged_model(digests: ModelDigests) -> dict[str, Any]:
    """What a gate's line names: the file that is deployed and, where it is a refitted one, the one that was judged."""
    return digests.model_dump(mode="json", include={"model_digest", "judged_digest"})
