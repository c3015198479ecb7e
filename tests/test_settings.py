"""The code that ran has a name, or is said to have none; a secret is drawn once."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.errors import Refused
from pipelines.settings import git_revision, read_or_create_secret


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


def test_a_secret_is_drawn_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "token"
    secret = read_or_create_secret(file, 32)
    assert len(secret) >= 40
    assert read_or_create_secret(file, 32) == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["token"]


def test_a_ledger_that_is_begun_lies_in_a_folder_of_its_owner_alone_and_one_that_is_there_keeps_its_rights(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared").chmod(0o755)
    before = os.umask(0o022)
    try:
        for folder in ("own/ledger", "shared"):
            SqlLedger(f"sqlite:///{tmp_path}/{folder}/ledger.db").append("release", "m", "1", {}, actor="ann")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("own", "own/ledger", "shared")}
    assert modes == {"own": 0o700, "own/ledger": 0o700, "shared": 0o755}


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    with pytest.raises(Refused, match="is empty"):
        read_or_create_secret(tmp_path / "token")
