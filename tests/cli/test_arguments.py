"""A value that no command can use is refused by its name before anything happens, with how to write it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.cli import arguments
from pipelines.cli.main import main, parser
from pipelines.cli.names import check_order
from pipelines.errors import Refused

DAYS = ("--from", "2013-01-05", "--to", "2013-01-05")
CASES = [
    (("land", "--from", "5.1.2013", "--to", "2013-01-05"), "argument --from: '5.1.2013' is not a day"),
    (("land", "--from", "20130105", "--to", "2013-01-05"), "argument --from: '20130105' is not a day"),
    (("replay", "--from", "2013-02-29", "--to", "2013-03-01"), "argument --from: '2013-02-29' is not a day"),
    (("quarantine", "flights", "flights", "--since", "2013-W01-1"), "argument --since: '2013-W01-1' is not a day"),
    (("demo", "--first", "yesterday"), "argument --first: 'yesterday' is not a day"),
    (("ledger", "--since", "last week"), "argument --since: 'last week' is neither a day"),
    (("ledger", "--last", "0"), "argument --last: '0' is not a number of at least 1"),
    (("ledger", "--last", "-5"), "argument --last: '-5' is not a number of at least 1"),
    (
        ("quarantine", "flights", "flights", "--last", "\u0661"),
        "argument --last: '\u0661' is not a number of at least 1",
    ),
    (("replay", *DAYS, "--batch", "0"), "argument --batch: '0' is not a number of at least 1"),
    (("traffic", "m", "--from", "2013-01-05", "--days", "1e3"), "argument --days: '1e3' is not a number of at least"),
    (("traffic", "m", "--from", "2013-01-05", "--days", "9" * 5000), "is not a number of at least 1"),
    (("traffic", "m", "--from", "2013-01-05", "--rps", "nan"), "argument --rps: 'nan' is not a number above 0"),
    (("traffic", "m", "--from", "2013-01-05", "--seconds", "inf"), "argument --seconds: 'inf' is not a number above 0"),
    (("traffic", "m", "--from", "2013-01-05", "--to", "{home}"), "is a folder; name a file"),
    (("demo", "--live", "0"), "argument --live: '0' is not a number of at least 1"),
    (("gateway", "--workers", "0"), "argument --workers: '0' is not a number of at least 1"),
    (("restore", "validated/flights.flights", "1.0"), "'1.0' is not a version; versions of a table are 0, 1, 2"),
    (("verify", "m", "1", "--write", "{home}/nowhere/certificate.json"), "there is no folder {home}/nowhere"),
    (("rollback", "m", "--reason", " \n"), "argument --reason: it is empty; say why"),
    (("ledger", "repair", "--because", ""), "argument --because: it is empty; say why"),
]


@pytest.mark.parametrize(("given", "message"), CASES, ids=lambda value: " ".join(value)[:60])
def test_a_value_that_no_command_can_use_is_refused_by_its_name(
    given: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([value.format(home=tmp_path) for value in given])
    assert end.value.code == 2
    assert message.format(home=tmp_path) in capsys.readouterr().err


def declared_arguments(of: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from declared_arguments(command)
        elif action.type is not None:
            yield of.prog, action


def test_every_value_that_is_not_text_is_read_by_the_one_module_that_says_what_is_wrong() -> None:
    typed = list(declared_arguments(parser()))
    assert len(typed) > 20
    own = {value for value in vars(arguments).values() if getattr(value, "__module__", "") == arguments.__name__}
    assert [(command, action.dest) for command, action in typed if action.type not in own] == []


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "2013-03-01T06:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_first_and_the_last_times_that_there_are_can_be_written(text: str) -> None:
    assert arguments.first_moment(text) <= arguments.last_moment(text)


def test_a_day_as_the_last_moment_is_included_to_its_end() -> None:
    assert arguments.last_moment("2013-03-01").isoformat() == "2013-03-01T23:59:59.999999+00:00"
    assert arguments.first_moment("2013-03-01").isoformat() == "2013-03-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "command",
    [
        ("ledger", "--since", "2013-03-02", "--until", "2013-03-01"),
        ("quarantine", "flights", "flights", "--since", "2013-03-02", "--until", "2013-03-01"),
        ("replay", "--from", "2013-03-02", "--to", "2013-03-01"),
        ("land", "--from", "2013-03-02", "--to", "2013-03-01"),
    ],
    ids=lambda command: command[0],
)
def test_days_that_end_before_they_begin_are_refused_and_not_an_empty_answer(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    from pipelines.testing.ports import FakePorts

    options = parser().parse_args(command)
    with pytest.raises(Refused, match=r"later than the last"):
        options.run(options, FakePorts.make(tmp_path))


def test_a_span_with_one_end_or_none_is_no_fault() -> None:
    for first, last in ((None, None), (date(2013, 1, 1), None), (None, date(2013, 1, 1))):
        check_order(first, last)


def test_a_reason_keeps_its_words_and_loses_its_line_breaks() -> None:
    assert arguments.sentence(" late\nflights \t look punctual ") == "late flights look punctual"
    assert SimpleNamespace(**vars(parser().parse_args(["rollback", "m", "--reason", "a\nb"]))).reason == "a b"
