"""Every command line on a page is one that its program takes: nothing that a reader copies is refused as unknown."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli.main import parser
from pipelines.settings import REPOSITORY
from tests.docs.pages import Page, dag_pages, pages

PLACEHOLDERS = {
    "<model>": "flight_delay",
    "<version>": "3",
    "<dataset>": "flights",
    "<day>": "2013-03-01",
    "<shell>": "bash",
}
ASSIGNMENT = re.compile(r"^[A-Z_]+=")


def parse_airworthy(arguments: list[str]) -> None:
    parser().parse_args(arguments)


def parse_airflow(arguments: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(arguments)


def parse_make(arguments: list[str]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def parse_gateway(arguments: list[str]) -> None:
    import argparse

    from pipelines.serving.__main__ import add_options

    gateway = argparse.ArgumentParser()
    add_options(gateway)
    gateway.parse_args(arguments)


PARSERS: dict[str, Callable[[list[str]], None]] = {
    "airworthy": parse_airworthy,
    "airworthy airflow": parse_airflow,
    "airflow": parse_airflow,
    "make": parse_make,
    "python -m pipelines.serving": parse_gateway,
}


def words_of(command: str) -> list[str]:
    """The words of one command line: no comment, no assignment before the program, no pipe or redirection after it."""
    for placeholder, example in PLACEHOLDERS.items():
        command = command.replace(placeholder, example)
    words = shlex.split(command, comments=True)
    while words and ASSIGNMENT.match(words[0]):
        words.pop(0)
    for place, word in enumerate(words):
        if word in ("|", "||", "&&", ";", "&", "2>&1") or word.startswith((">", "2>")):
            return words[:place]
    if words and words[-1] == "…":
        words.pop()
    if words:
        words[0] = words[0].removeprefix(".venv/bin/")
    return words


def fault(command: str) -> str | None:
    """Why the program that a command line names does not take it; None if it does, or is none of ours.

    A command that is only named, without any argument, may lack what it needs.
    """
    try:
        words = words_of(command)
    except ValueError:  # an apostrophe: it is no command line
        return None
    programs = [name for name in PARSERS if words[: len(name.split())] == name.split()]
    if not programs or words == programs[-1].split():
        return None
    name = max(programs, key=len)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            PARSERS[name](words[len(name.split()) :])
    except SystemExit as end:
        only_named = len(words) == len(name.split()) + 1 and "arguments are required" in printed.getvalue()
        return printed.getvalue() if end.code and not only_named else None
    except AssertionError as error:
        return str(error)
    return None


def faults_of(page: Page) -> list[str]:
    return [f"{page.name}: {command}\n{why}" for command in page.commands() if (why := fault(command))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_line_of_a_page_is_taken_by_its_program(page: Page) -> None:
    assert not faults_of(page)


def test_every_command_line_of_a_dags_page_is_taken_by_its_program(tmp_path: Path) -> None:
    dag_texts = dag_pages(tmp_path)
    assert len(dag_texts) > 10
    assert not [problem for page in dag_texts for problem in faults_of(page)]


def test_the_pages_have_commands_of_every_program() -> None:
    programs = {words_of(code)[0] for page in pages() for code in page.commands() if code.startswith(tuple(PARSERS))}
    assert programs >= {"airworthy", "airflow", "make"}


@pytest.mark.parametrize(
    "command",
    [
        "airworthy verify <model>",
        "airworthy verfy",
        "airworthy restore … --version 12",
        "airflow backfills create --dag-id x",
        "make everything",
        "airworthy status --loud",
        "airworthy airflow dag list",
        "python -m pipelines.serving --state x --store y --colour red",
    ],
)
def test_a_command_line_that_its_program_does_not_take_is_found(command: str) -> None:
    assert fault(command)
