"""What others wrote into ledger, registry and target is printed as text: it moves no cursor and colours nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.cli.hanging_lines import hanging_lines
from pipelines.cli.main import parser
from pipelines.cli.status_page import render_model, render_summary
from pipelines.cli.terminal_text import markup, print_line, visible
from pipelines.settings import REPOSITORY
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget

MODEL = "flight_delay"
ERASE_LINE, RIGHT_TO_LEFT, LINE = "\x1b[2K\x1b[1A", "\u202e", "\u2028"
HOSTILE = f"{ERASE_LINE}[/bold][red]approved[/red]{RIGHT_TO_LEFT}{LINE}\x07[nosuchstyle"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """Every text that a person or another program may write holds the sequences."""
    made = FakePorts.make(tmp_path)
    made.targets[MODEL] = FakeTarget("1")
    made.targets[MODEL].release(MODEL, "2", "bundles/2", "0" * 64, key="2")
    for _ in range(2):
        made.registry.register(
            MODEL,
            tags={"airworthy.status": HOSTILE, "airworthy.semantic_version": HOSTILE},
            metrics={"test_roc_auc": 0.7},
        )
    made.registry.move_alias(MODEL, HOSTILE, "2")
    facts = {
        "gate": HOSTILE,
        "check": HOSTILE,
        "day": HOSTILE,
        "outcome": HOSTILE,
        "reasons": [HOSTILE],
        "window": [HOSTILE],
    }
    for kind in (
        "gate",
        "monitoring_verdict",
        "approval_answer",
        "retrain_request",
        "release",
        "rollback",
        "unheard_of",
    ):
        details = {**facts, "from": "1", "to": "0", "reason": HOSTILE, "comment": HOSTILE, "person": HOSTILE}
        made.ledger.append(kind, MODEL, "1", details, actor=HOSTILE)
    return made


def printed(ports: FakePorts, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    options = parser().parse_args(command)
    options.run(options, ports)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [("ledger",), ("status",), ("status", MODEL), ("reconcile",), ("rollback", MODEL, "--reason", "bad", "--dry-run")],
    ids=" ".join,
)
def test_no_command_prints_a_control_character_that_somebody_wrote(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    text = printed(ports, capsys, *command)
    assert text
    assert not {"\x1b", "\x07", RIGHT_TO_LEFT, LINE} & set(text)


def test_status_shows_markup_that_somebody_wrote_as_it_was_written(ports: FakePorts) -> None:
    from pipelines.cli.status import summary

    console = Console(width=4000, record=True)
    for part in (*render_summary(summary(ports)), *render_model(MODEL, summary(ports, MODEL))):
        console.print(part)
    assert console.export_text().count("[/bold][red]approved[/red]") >= 8


def test_escapes_are_those_of_python_and_what_people_write_stays() -> None:
    assert visible(f"{ERASE_LINE}x") == "\\x1b[2K\\x1b[1Ax"
    for text in ("Zürich, 東京, שלום, 👩\u200d✈️", "line one\n\tline two"):
        assert visible(text) == text
    assert markup("[bold]") == "\\[bold]"
    assert hanging_lines("\x1b[31m", "a\x1b[0m", 80) == "\\x1b[31ma\\x1b[0m"


def test_a_line_break_in_what_somebody_wrote_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("entity a\nversion 7 is approved\r\x1b[2K")
    assert capsys.readouterr().out == "entity a\\nversion 7 is approved\\r\\x1b[2K\n"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "pipelines" / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_every_command_prints_by_what_makes_text_visible(path: Path) -> None:
    """Commands written later, too: ``print`` itself is for JSON, scripts and files of this program's own making."""
    printed = [
        f"{path.name}:{call.lineno}"
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
        if not any(maker in ast.unparse(call) for maker in ("json", "shtab.complete", "print(text, end='')"))
    ]
    assert path.stem == "terminal_text" or printed == []
