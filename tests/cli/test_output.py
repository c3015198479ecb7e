"""Output that cannot be written, or not in every sign, costs a command neither its result nor a stack trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(tmp_path: Path, shell: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = shell.format(airworthy=f"{sys.executable} -m pipelines.cli.main")
    variables = {**os.environ, "AIRWORTHY_HOME": str(tmp_path), **(environment or {})}
    return subprocess.run(
        ["bash", "-c", command], env=variables, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(tmp_path: Path) -> None:
    done = run(tmp_path, "{airworthy} completion bash | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "{airworthy} completion bash > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "No space left on device" in done.stderr


def test_signs_that_the_output_cannot_encode_are_replaced(tmp_path: Path) -> None:
    done = run(tmp_path, "{airworthy} verify 東京 1", {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.returncode, "Traceback" in done.stderr) == (65, False)
    assert "there is no model" in done.stderr
