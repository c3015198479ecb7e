"""The end of a pod that wrote no manifest: kept as JSON, and read as the error that its task raises."""

from __future__ import annotations

import json

from pipelines.errors import AirworthyError, Refused, Unavailable
from pipelines.rules.pod_end import PodEnd


def end_json(end: PodEnd) -> bytes:
    note = {"kind": end.kind, "subject": end.subject, "reasons": end.reasons}
    return json.dumps(note, indent=1).encode()


def end_error(content: bytes) -> AirworthyError:
    end = PodEnd(**json.loads(content))
    if end.kind == "refused":
        return Refused(end.subject, end.reasons)
    return Unavailable("".join([end.subject, *(f"\n  - {reason}" for reason in end.reasons)]))
