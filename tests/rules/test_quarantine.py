"""No row is lost, and too many bad ones refuse the day."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.messages.validation import AuditResult, SourceAudit
from pipelines.rules.quarantine import RULE, judge_audit, publication_faults
from pipelines.verdict import Outcome

DAY = date(2013, 1, 5)


def audited(received: int, accepted: int, quarantined: int, *failures: str) -> SourceAudit:
    reasons = {"wind_speed above 120": quarantined} if quarantined else {}
    return SourceAudit(
        source="weather",
        landed=f"{DAY}",
        received=received,
        accepted=accepted,
        quarantined=quarantined,
        reasons=reasons,
        failures=list(failures),
        raw_version=0,
    )


def judge(*sources: SourceAudit, limit: float = 0.05) -> tuple[Outcome, tuple[str, ...]]:
    verdict = judge_audit(
        AuditResult(dataset="flights", partition=f"{DAY}", sources=list(sources), staged="staged/x"), limit
    )
    return verdict.outcome, verdict.reasons


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        (audited(100, 100, 0), Outcome.PASS),
        (audited(100, 95, 5), Outcome.PASS),
        (audited(100, 94, 6), Outcome.FAIL),
        (audited(100, 94, 5), Outcome.FAIL),
        (audited(0, 0, 0), Outcome.PASS),
        (audited(100, 100, 0, "row count 100 is below 500"), Outcome.FAIL),
    ],
)
def test_a_share_at_the_limit_passes_and_one_above_refuses_the_day(source: SourceAudit, outcome: Outcome) -> None:
    assert judge(source)[0] is outcome


def test_all_failures_of_all_sources_are_listed_with_their_numbers() -> None:
    outcome, reasons = judge(audited(100, 80, 10, "too few rows"), audited(100, 100, 0))
    assert outcome is Outcome.FAIL
    assert reasons == (
        "weather: too few rows",
        "weather: 100 rows received, but 80 accepted + 10 quarantined = 90",
        "weather: 10 of 100 rows quarantined, 0.1000 > 0.0500: wind_speed above 120 (10 rows)",
    )


def test_a_day_without_any_audited_source_is_not_known_to_be_good() -> None:
    assert judge()[0] is Outcome.UNKNOWN


def test_the_three_most_common_reasons_are_named_and_of_equals_the_first_by_name() -> None:
    counts = {"d": 1, "c": 2, "b": 5, "a": 2}
    source = audited(100, 90, 10).model_copy(update={"reasons": counts})
    assert judge(source)[1][0].endswith("0.1000 > 0.0500: b (5 rows); a (2 rows); c (2 rows)")


def test_what_was_accepted_and_quarantined_is_told_on_success_too() -> None:
    verdict = judge_audit(
        AuditResult(dataset="flights", partition=f"{DAY}", sources=[audited(100, 99, 1), audited(9, 9, 0)], staged="s"),
        0.05,
    )
    assert verdict.findings == (
        "weather: 99 rows accepted, 1 quarantined: wind_speed above 120 (1 row)",
        "weather: 9 rows accepted, 0 quarantined",
    )


def recorded(outcome: str, key: str = f"{DAY}", check: str = RULE, reasons: tuple[str, ...] = ()) -> dict[str, object]:
    return {"check": check, "day": key, "outcome": outcome, "reasons": list(reasons)}


@pytest.mark.parametrize(
    ("records", "faults"),
    [
        ([], ["day 2013-01-05 was not audited"]),
        ([recorded("pass")], []),
        ([recorded("fail"), recorded("pass")], []),
        (
            [recorded("pass"), recorded("fail", reasons=("6 % bad",))],
            ["the newest audit of day 2013-01-05 said fail", "6 % bad"],
        ),
        ([recorded("unknown")], ["the newest audit of day 2013-01-05 said unknown"]),
        ([recorded("pass", key="2013-01-06")], ["day 2013-01-05 was not audited"]),
        ([recorded("pass", check="contract_check")], ["day 2013-01-05 was not audited"]),
    ],
)
def test_a_partition_is_handed_on_if_its_newest_audit_passed(
    records: list[dict[str, object]], faults: list[str]
) -> None:
    assert publication_faults(records, f"{DAY}") == faults
