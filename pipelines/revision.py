"""Every training names the code that ran: a commit, marked ``-dirty`` if the checkout was edited."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.settings import REPOSITORY

VARIABLE = "AIRWORTHY_GIT_REVISION"


def git_revision(environment: Mapping[str, str] | None = None, folder: Path = REPOSITORY) -> str:
    """``AIRWORTHY_GIT_REVISION`` (an image has no git), else the checkout's commit; ``unknown`` outside of git."""
    if given := (os.environ if environment is None else environment).get(VARIABLE):
        return given
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
