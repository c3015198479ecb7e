"""Names a run in paths, and tells whether two requests ask for the same work."""

from __future__ import annotations

import hashlib
import json
import re


def path_slug(run_id: str) -> str:
    """A run id as part of a path: readable, and unique by a digest where characters were replaced."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id)
    return plain if plain == run_id else f"{plain}-{hashlib.sha256(run_id.encode()).hexdigest()[:6]}"


def is_same_request(request: str, other: str) -> bool:
    """Whether two requests are equal but for ``git_revision``: a redeployment does not invalidate a running pod."""
    first, second = json.loads(request), json.loads(other)
    return bool({**first, "git_revision": None} == {**second, "git_revision": None})
