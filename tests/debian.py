"""Programs that Debian packages: from the path, else unpacked once from the package into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

DOWNLOAD_SECONDS = 120


def debian_program(name: str, package: str) -> str:
    """Path of the program; skips the test where it is not installed and apt has no such package."""
    installed = shutil.which(name)
    if installed is not None:
        return installed
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "airworthy-tests"
    program = cache / package / "usr" / "bin" / name
    if not program.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _unpack(package, cache)
    if not program.exists():
        pytest.skip(f"{name} is not installed; on Debian: apt-get install {package}")
    return str(program)


def debian_library(name: str, package: str) -> str:
    """Path of a shared library in a folder of the package below ``/usr/lib/<machine>``; skips the test without one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "airworthy-tests"

    def libraries() -> list[Path]:
        return sorted([*Path("/usr/lib").glob(f"*/*/{name}"), *(cache / package).glob(f"usr/lib/*/*/{name}")])

    if not libraries() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _unpack(package, cache)
    if not libraries():
        pytest.skip(f"{name} is not installed; on Debian: apt-get install {package}")
    return str(libraries()[0])


def debian_command(name: str, package: str) -> list[str]:
    """The beginning of a command line that runs the program; what is unpacked finds its ``/usr/share`` by a mount."""
    program = debian_program(name, package)
    if program == shutil.which(name):
        return [program]
    own_mounts = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, "true"], capture_output=True).returncode:
        pytest.skip(f"{name} needs its files below /usr/share; on Debian: apt-get install {package}")
    files = Path(program).parents[1] / "share"
    return [*own_mounts, "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"', str(files), program]


def _unpack(package: str, cache: Path) -> None:
    """Other processes see the whole package or none of it."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = ["apt-get", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=0", "download", package]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, timeout=DOWNLOAD_SECONDS, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            return
        files = list(Path(folder).glob("*.deb"))
        if not files:
            return
        unpacked = Path(folder) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", str(files[0]), str(unpacked)], check=True, timeout=300)
        if not (cache / package).exists():
            unpacked.rename(cache / package)
