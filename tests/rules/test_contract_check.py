"""One broken promise refuses the day; all of them are listed."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.messages.ingestion import IngestResult, SourceIngest
from pipelines.rules.contract_check import judge_contract
from pipelines.verdict import Outcome

DAY = date(2013, 1, 5)


def source(name: str, *failures: str, version: int | None = 1) -> SourceIngest:
    kept = None if failures else version
    return SourceIngest(source=name, landed=f"{DAY}", rows=9, failures=list(failures), version=kept)


@pytest.mark.parametrize(
    ("sources", "outcome", "reasons"),
    [
        ([source("flights"), source("weather")], Outcome.PASS, []),
        (
            [source("flights", "column 'dest' is missing", "empty"), source("weather", "wrong digest")],
            Outcome.FAIL,
            ["flights: column 'dest' is missing", "flights: empty", "weather: wrong digest"],
        ),
        ([source("flights", "empty"), source("weather", version=None)], Outcome.FAIL, ["flights: empty"]),
        (
            [source("flights"), source("weather", version=None)],
            Outcome.UNKNOWN,
            ["weather: was neither refused nor written to a table"],
        ),
        ([], Outcome.UNKNOWN, ["flights day 2013-01-05: no source was read"]),
    ],
)
def test_every_broken_promise_of_every_source_is_listed(
    sources: list[SourceIngest], outcome: Outcome, reasons: list[str]
) -> None:
    verdict = judge_contract(IngestResult(dataset="flights", partition=f"{DAY}", sources=sources))
    assert verdict.outcome is outcome
    assert list(verdict.reasons) == reasons
