"""The commands are listed by group, the version is told, a shell completes, and Airflow's own commands are reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.main import COMMAND_GROUPS, main, parser
from pipelines.settings import Settings


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "AIRWORTHY_HOME": str(home)}
    command = [sys.executable, "-m", "pipelines.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_help_lists_every_command_once_below_its_group_within_80_columns() -> None:
    lines = parser().format_help().splitlines()
    assert max(map(len, lines)) <= 80
    for heading, group in COMMAND_GROUPS.items():
        below = lines[lines.index(f"{heading}:") + 1 :][: len(group)]
        assert [line.split()[0] for line in below] == list(group)


def test_every_listed_command_has_a_parser_and_every_parser_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (name for group in COMMAND_GROUPS.values() for name in group if name != "airflow"):
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"airworthy {name}" in capsys.readouterr().out


def test_the_version_is_told_with_the_revision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRWORTHY_GIT_REVISION", "abc123")
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == "airworthy 0.1.0 (abc123)\n"


def test_bash_completes_commands_and_their_options(tmp_path: Path) -> None:
    script = run("completion", "bash", home=tmp_path).stdout
    ask = "COMP_WORDS=({words} ''); COMP_CWORD={place}; _shtab_airworthy; echo \"${{COMPREPLY[@]}}\""

    def completed(*words: str) -> list[str]:
        question = ask.format(words=" ".join(words), place=len(words))
        done = subprocess.run(["bash", "-c", f"{script}\n{question}"], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert {"up", "verify", "airflow"} <= set(completed("airworthy"))
    assert {"zsh", "bash"} <= set(completed("airworthy", "completion"))


def test_airflows_own_commands_run_on_the_embedded_stack_with_their_output_and_status(tmp_path: Path) -> None:
    refused = run("airflow", "version", home=tmp_path)
    assert refused.returncode == 65
    assert "airworthy up" in refused.stderr
    database = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path)}).home / "airflow" / "airflow.db"
    database.parent.mkdir(parents=True)
    database.touch()
    answer = run("airflow", "config", "get-value", "core", "dags_folder", home=tmp_path)
    assert answer.stdout.strip().endswith("/dags")
    assert run("airflow", "dags", "nothing", home=tmp_path).returncode == 2
