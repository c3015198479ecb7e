from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.ingestion import ExtractRequest, ExtractResult, IngestRequest, IngestResult, SourceIngest
from pipelines.spec.sql_table import SqlTable
from practices._arrivals import receipts
from practices._operators.defaults import asset
from practices.contract_check import ContractCheck
from tests.practices.landing import DAY, dataset, deliver
from tests.practices.practice_harness import PracticeHarness

INGESTED = asset("flights", "ingested")


@pytest.fixture
def landed(harness: PracticeHarness) -> PracticeHarness:
    harness.catalog.datasets["flights"] = dataset()
    deliver(harness.store, DAY)
    harness.answers["ingest_partition"] = ingested
    return harness


def ingested(request: IngestRequest, failures: dict[str, list[str]] | None = None) -> IngestResult:
    def source(name: str) -> SourceIngest:
        broken = (failures or {}).get(name, [])
        written = {} if broken else {"table": f"raw/flights.{name}", "version": 1}
        return SourceIngest(source=name, landed=request.partition, rows=900, failures=broken, **written)

    return IngestResult(dataset="flights", partition=request.partition, sources=[source("flights"), source("weather")])


def check(harness: PracticeHarness, *, mapped: str | None = None, **run: Any) -> tuple[dict[str, Any], set[str]]:
    context = harness.context("ingest", "ingest_partition", **{"partition_key": f"{DAY}", **run})
    result = ContractCheck(task_id="ingest_partition", dataset="flights", partition=mapped).execute(context)
    return result, context["outlet_events"][INGESTED].partition_keys


def test_a_day_that_keeps_its_contract_is_handed_on_under_its_own_key(landed: PracticeHarness) -> None:
    result, handed_on = check(landed)
    assert IngestResult.model_validate(result) == ingested(IngestRequest(dataset="flights", partition=f"{DAY}"))
    assert handed_on == {"2013-01-05"}


@pytest.mark.parametrize(("mapped", "form"), [("2013-01-05", {}), (None, {"day": "2013-01-05"})])
def test_a_late_day_and_a_day_asked_for_by_hand_are_handed_on_alike(
    landed: PracticeHarness, mapped: str | None, form: dict[str, Any]
) -> None:
    _, handed_on = check(landed, mapped=mapped, partition_key=None, **form)
    assert landed.asked == [IngestRequest(dataset="flights", partition=f"{DAY}")]
    assert handed_on == {"2013-01-05"}


def test_the_ledger_keeps_the_digest_of_each_file_of_each_delivery(landed: PracticeHarness) -> None:
    def delivered(digest: str, version: int) -> Callable[[IngestRequest], IngestResult]:
        def run(request: IngestRequest) -> IngestResult:
            weather = {"source": "weather", "landed": request.partition, "rows": 72, "table": "raw/flights.weather"}
            ingest = SourceIngest.model_validate({**weather, "version": version, "sha256": {"w.csv": digest}})
            return IngestResult(dataset="flights", partition=request.partition, sources=[ingest])

        return run

    for version, digest in enumerate(("a" * 64, "b" * 64), start=1):
        landed.answers["ingest_partition"] = delivered(digest, version)
        check(landed, run=f"manual__{version}")
    assert [details["sources"] for _, details in landed.lines("data_verdict")] == [
        {"weather": {"partition": f"{DAY}", "version": version, "sha256": {"w.csv": digest}}}
        for version, digest in ((1, "a" * 64), (2, "b" * 64))
    ]


def test_a_broken_contract_is_refused_with_every_reason_and_on_the_ledger(landed: PracticeHarness) -> None:
    broken = {"flights": ["column 'carrier' is missing", "column 'carier' is not declared"], "weather": ["no rows"]}
    landed.answers["ingest_partition"] = lambda request: ingested(request, broken)
    with pytest.raises(Refused, match="flights for day 2013-01-05") as error:
        check(landed)
    [(version, details)] = landed.lines("data_verdict")
    assert (version, details["check"], details["day"]) == (None, "contract_check", "2013-01-05")
    assert details["outcome"] == "fail"
    assert details["reasons"] == error.value.reasons
    for reason in ("'carrier' is missing", "'carier' is not declared", "no rows"):
        assert any(reason in told for told in error.value.reasons)


def test_a_delivery_that_cannot_even_be_read_is_on_the_ledger_too(landed: PracticeHarness) -> None:
    def refuse(request: IngestRequest) -> IngestResult:
        raise Refused("flights.csv is not UTF-8", ["byte 0xe9 at 120"])

    landed.answers["ingest_partition"] = refuse
    with pytest.raises(Refused, match="0xe9"):
        check(landed)
    [(_, details)] = landed.lines("data_verdict")
    assert details["reasons"] == ["flights.csv is not UTF-8", "byte 0xe9 at 120"]


def test_a_refused_delivery_is_remembered_so_that_it_is_not_tried_again_by_itself(landed: PracticeHarness) -> None:
    landed.answers["ingest_partition"] = lambda request: ingested(request, {"weather": ["no rows"]})
    with pytest.raises(Refused):
        check(landed)
    assert json.loads(landed.store.get(store_paths.receipt("flights", DAY)))["outcome"] == "refused"


def test_what_could_not_be_tried_is_not_remembered_as_tried(landed: PracticeHarness) -> None:
    def fall_silent(request: IngestRequest) -> IngestResult:
        raise Unavailable("the store does not answer")

    landed.answers["ingest_partition"] = fall_silent
    with pytest.raises(Unavailable):
        check(landed)
    assert not landed.store.exists(store_paths.receipt("flights", DAY))
    assert landed.lines("data_verdict") == []


def test_a_mended_day_is_taken_and_both_verdicts_stand(landed: PracticeHarness) -> None:
    landed.answers["ingest_partition"] = lambda request: ingested(request, {"weather": ["no rows"]})
    with pytest.raises(Refused):
        check(landed)
    landed.answers["ingest_partition"] = ingested
    check(landed, clear_number=1)
    assert [details["outcome"] for _, details in landed.lines("data_verdict")] == ["fail", "pass"]
    assert json.loads(landed.store.get(store_paths.receipt("flights", DAY)))["outcome"] == "taken"


def test_one_day_refused_leaves_another_alone(landed: PracticeHarness) -> None:
    other = date(2013, 1, 6)
    deliver(landed.store, other)
    landed.answers["ingest_partition"] = lambda request: ingested(
        request, {"weather": ["?"]} if request.partition == f"{DAY}" else {}
    )
    with pytest.raises(Refused):
        check(landed)
    assert check(landed, partition_key=f"{other}")[1] == {"2013-01-06"}


def with_a_table(landed: PracticeHarness) -> None:
    spec = landed.catalog.datasets["flights"]
    table = spec.sources["weather"].model_copy(update={"sql": SqlTable(connection="warehouse", table="weather")})
    landed.catalog.datasets["flights"] = spec.model_copy(update={"sources": {**spec.sources, "weather": table}})


def test_tables_are_landed_before_the_receipt_of_the_delivery_is_written(landed: PracticeHarness) -> None:
    def extract(request: ExtractRequest) -> ExtractResult:
        deliver(landed.store, DAY, sources={"weather": 73})
        return ExtractResult(dataset=request.dataset, partition=request.partition, rows={"weather": 73})

    with_a_table(landed)
    landed.answers["extract_partition"] = extract
    check(landed)
    assert [type(request).__name__ for request in landed.asked] == ["ExtractRequest", "IngestRequest"]
    assert receipts.has_valid_receipt(landed.store, landed.catalog.datasets["flights"], f"{DAY}")


def test_a_table_that_cannot_be_read_is_a_refused_delivery_on_the_ledger(landed: PracticeHarness) -> None:
    def refuse(request: ExtractRequest) -> ExtractResult:
        raise Refused("the day cannot be read", ["weather: column 'temp' is missing"])

    with_a_table(landed)
    landed.answers["extract_partition"] = refuse
    with pytest.raises(Refused, match="'temp' is missing"):
        check(landed)
    [(_, details)] = landed.lines("data_verdict")
    assert (details["outcome"], details["reasons"]) == ("fail", ["weather: column 'temp' is missing"])
