from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.messages.validation import AuditResult, PublishRequest, PublishResult, SourceAudit, ValidateRequest
from practices._operators.defaults import asset
from practices.quarantine import Quarantine
from tests.practices.landing import DAY, dataset
from tests.practices.practice_harness import PracticeHarness


def audit(*, quarantined: int, failures: list[str] | None = None) -> AuditResult:
    source = SourceAudit(
        source="flights",
        landed=f"{DAY}",
        received=1000,
        accepted=1000 - quarantined,
        quarantined=quarantined,
        reasons={"wind_speed is between 0 and 120": quarantined} if quarantined else {},
        failures=failures or [],
        raw_version=3,
    )
    return AuditResult(
        dataset="flights", partition=f"{DAY}", sources=[source], staged="staged/flights/2013-01-05", report="r.html"
    )


@pytest.fixture
def ingested(harness: PracticeHarness) -> PracticeHarness:
    harness.catalog.datasets["flights"] = dataset()
    harness.answers["audit_partition"] = audit(quarantined=50)
    harness.answers["publish_partition"] = lambda request: PublishResult(
        dataset="flights",
        partition=f"{DAY}",
        versions={"validated/flights.flights": 7} if request.accept else {"quarantine/flights.flights": 2},
    )
    return harness


def publish(harness: PracticeHarness) -> tuple[dict[str, Any], set[str]]:
    context = harness.context("validate", "publish_partition", partition_key=f"{DAY}")
    result = Quarantine(task_id="publish_partition", dataset="flights").execute(context)
    return result, context["outlet_events"][asset("flights", "validated")].partition_keys


def test_a_good_day_is_audited_then_published_then_handed_on(ingested: PracticeHarness) -> None:
    result, handed_on = publish(ingested)
    audited, published = ingested.asked
    assert audited == ValidateRequest(dataset="flights", partition=f"{DAY}")
    assert published == PublishRequest(audit=audit(quarantined=50), accept=True)
    assert result["versions"] == {"validated/flights.flights": 7}
    assert handed_on == {"2013-01-05"}


@pytest.mark.parametrize(
    ("found", "reason"),
    [(audit(quarantined=51), "0.05"), (audit(quarantined=0, failures=["rows between 800 and 1100"]), "800 and 1100")],
)
def test_a_bad_day_is_refused_after_its_rows_were_set_aside(
    ingested: PracticeHarness, found: AuditResult, reason: str
) -> None:
    ingested.answers["audit_partition"] = found
    with pytest.raises(Refused, match=reason):
        publish(ingested)
    assert ingested.asked[-1] == PublishRequest(audit=found, accept=False)
    [(_, details)] = ingested.lines("data_verdict")
    assert (details["check"], details["outcome"], details["report"]) == ("quarantine", "fail", "r.html")


def test_rows_that_vanished_refuse_the_day(ingested: PracticeHarness) -> None:
    source = audit(quarantined=10).sources[0].model_copy(update={"accepted": 989})
    ingested.answers["audit_partition"] = audit(quarantined=10).model_copy(update={"sources": [source]})
    with pytest.raises(Refused, match="1000"):
        publish(ingested)
