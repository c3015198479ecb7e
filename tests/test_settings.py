"""The code that ran has a name, or is said to have none."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipelines.settings import git_revision


def test_an_image_says_its_own_revision() -> None:
    assert git_revision({"AIRWORTHY_GIT_REVISION": "abc"}) == "abc"


def test_a_folder_without_git_has_an_unknown_revision(tmp_path: Path) -> None:
    assert git_revision({}, tmp_path) == "unknown"


def test_an_edited_checkout_is_marked_dirty(tmp_path: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one", "--allow-empty"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / "file").write_text("1")
    for command in (["add", "."], [*identity, "commit", "-q", "-m", "two"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    clean = git_revision({}, tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert git_revision({}, tmp_path) == f"{clean}-dirty"
