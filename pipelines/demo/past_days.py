"""Days of the past are taken by the steps alone, in this process: what an installation holds before Airflow goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipelines.demo.land import land
from pipelines.errors import Refused
from pipelines.messages.features import FeaturesRequest, FeaturesResult, PublishFeaturesRequest
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.message import Message
from pipelines.messages.validation import AuditResult, PublishRequest, ValidateRequest
from pipelines.ports import Ports
from pipelines.rules.point_in_time_features import judge_features
from pipelines.rules.quarantine import judge_audit
from pipelines.wiring import run_step


def take_days(days: Sequence[date], ports: Ports, dataset: str) -> None:
    """Land, ingest, audit, publish and build days, ascending and without a hole, one after the other.

    Judged by the rules of the practices, without lines of the ledger. Raises ``Refused`` for the first day that one of
    them refuses.
    """
    land(days[0], days[-1], ports, dataset)
    spec = ports.catalog.dataset(dataset)

    def step(name: str, request: Message) -> Message:
        return run_step(name, request.model_dump_json(by_alias=True), ports)

    for day in days:
        ingested = step("ingest_partition", IngestRequest(dataset=dataset, partition=f"{day}"))
        assert isinstance(ingested, IngestResult)
        faults = [fault for source in ingested.sources for fault in source.failures]
        _check(f"{dataset} of {day} was not ingested", faults)
        audit = step("audit_partition", ValidateRequest(dataset=dataset, partition=f"{day}"))
        assert isinstance(audit, AuditResult)
        verdict = judge_audit(audit, spec.max_quarantined_share)
        step("publish_partition", PublishRequest(audit=audit, accept=verdict.passed))
        _check(f"{dataset} of {day} was not published", verdict.reasons)
        for view in ports.catalog.views_of(dataset):
            built = step("build_features", FeaturesRequest(view=view.view, day=day))
            assert isinstance(built, FeaturesResult)
            verdicts = {partition.day: judge_features(partition, view) for partition in built.partitions}
            refused = {on: [*each.reasons] for on, each in verdicts.items() if not each.passed}
            if built.partitions:
                request = PublishFeaturesRequest(view=view.view, partitions=built.partitions, refused=refused)
                step("publish_features", request)
            _check(f"{view.view} of {day} was not published", [text for texts in refused.values() for text in texts])


def _check(subject: str, faults: Sequence[str]) -> None:
    if faults:
        raise Refused(subject, list(faults))
