"""Takes days through the steps alone, one after the other: landed, ingested, published, and built into features."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipelines.demo.land import land
from pipelines.messages.features import FeaturesRequest, FeaturesResult, PublishFeaturesRequest
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.message import Message
from pipelines.messages.validation import AuditResult, PublishRequest, ValidateRequest
from pipelines.ports import Ports
from pipelines.wiring import run_step


def build_days(days: Sequence[date], ports: Ports, dataset: str = "flights") -> None:
    """These days in a row, of which none fails."""
    land(days[0], days[-1], ports, dataset)

    def step(name: str, request: Message) -> Message:
        return run_step(name, request.model_dump_json(by_alias=True), ports)

    for day in days:
        step("ingest_partition", IngestRequest(dataset=dataset, partition=f"{day}"))
        audit = step("audit_partition", ValidateRequest(dataset=dataset, partition=f"{day}"))
        assert isinstance(audit, AuditResult)
        step("publish_partition", PublishRequest(audit=audit, accept=True))
        for view in ports.catalog.views_of(dataset):
            built = step("build_features", FeaturesRequest(view=view.view, day=day))
            assert isinstance(built, FeaturesResult)
            if built.partitions:
                step("publish_features", PublishFeaturesRequest(view=view.view, partitions=built.partitions))
