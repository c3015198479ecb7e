"""A table without dates goes from its file to two versions that are compared, and declares nothing but the question."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.adapters.mlflow_registry import MlflowRegistry
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused, Unavailable
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.training import ModelDigests, SnapshotRequest, SnapshotResult, TrainRequest, TrainResult
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.rules.champion_comparison_gate import judge_candidate
from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from pipelines.rules.training_snapshot import judge_snapshot
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.partitions import FIRST_DATE, ONCE
from pipelines.steps import (
    audit_partition,
    evaluate_model,
    ingest_partition,
    publish_partition,
    take_snapshot,
    train_model,
)
from pipelines.steps.auditing.lineage import read_record, snapshot_days
from pipelines.steps.features.staleness import stale_days
from pipelines.steps.take_snapshot import read_snapshot
from pipelines.store_paths import MANIFEST
from pipelines.testing.ports import FakePorts
from tests.mlflow_database import copy_empty_mlflow
from tests.steps.built_features import build_view
from tests.tumours import DECLARATIONS, NAMES, ROWS

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> FakePorts:
    folder = tmp_path_factory.mktemp("clinic")
    include, tracking = folder / "include", copy_empty_mlflow(folder / "mlflow.db")
    for name, text in DECLARATIONS.items():
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        (include / f"{name}.yaml").write_text(text)
    catalog = Catalog.read(include)
    assert catalog.refused == {}
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(folder), "MLFLOW_TRACKING_URI": tracking})
    return FakePorts(
        settings=settings.model_copy(update={"include": include}),
        catalog=catalog,
        store=DeltaStore(str(folder / "store")),
        registry=MlflowRegistry(tracking),
    )


def deliver(ports: FakePorts, rows: pl.DataFrame) -> None:
    """Land the table, ingest it, publish it and build its features."""
    content = rows.write_csv().encode()
    file = LandedFile(name="tumours.csv", sha256=hashlib.sha256(content).hexdigest(), rows=rows.height)
    ports.store.put(store_paths.landing("clinic", "tumours", ONCE, file.name), content)
    manifest = DeliveryManifest(source="tumours", partition=ONCE, files=[file])
    ports.store.put(
        store_paths.landing("clinic", "tumours", ONCE, MANIFEST), manifest.model_dump_json(by_alias=True).encode()
    )
    ingested = ingest_partition.run(IngestRequest(dataset="clinic", partition=ONCE), ports)
    assert [failure for source in ingested.sources for failure in source.failures] == []
    audit = audit_partition.run(ValidateRequest(dataset="clinic", partition=ONCE), ports)
    publish_partition.run(PublishRequest(audit=audit, accept=True), ports)
    built = build_view(ports, "tumour", FIRST_DATE)
    assert built.verdicts[FIRST_DATE].passed, built.verdicts[FIRST_DATE].reasons


def train(ports: FakePorts, seed: int) -> tuple[SnapshotResult, TrainResult]:
    snapshot = take_snapshot.run(SnapshotRequest(model="malignancy", as_of=NOW), ports)
    verdict = judge_snapshot(snapshot, ports.catalog.model("malignancy"))
    assert verdict.passed, verdict.reasons
    request = TrainRequest(model="malignancy", snapshot=snapshot.digest, run_key=f"train/{seed}", seed=seed)
    return snapshot, train_model.run(request, ports)


def evaluate(ports: FakePorts, trained: TrainResult, champion: TrainResult | None) -> EvaluateResult:
    versions = [trained, *([champion] if champion else [])]
    digests = {
        version.version: ModelDigests(
            model_digest=version.model_digest,
            judged_digest=version.judged_digest,
            folder_digest=version.folder_digest,
            snapshot=version.snapshot,
        )
        for version in versions
    }
    return evaluate_model.run(
        EvaluateRequest(
            model="malignancy",
            version=trained.version,
            champion=champion.version if champion else None,
            digests=digests,
        ),
        ports,
    )


@pytest.fixture(scope="module")
def life(ports: FakePorts) -> dict[str, Any]:
    deliver(ports, ROWS)
    snapshot, first = train(ports, 1)
    deliver(ports, ROWS.sample(500, seed=3))
    again, second = train(ports, 2)
    return {"snapshots": [snapshot, again], "results": [evaluate(ports, first, None), evaluate(ports, second, first)]}


def test_each_row_is_in_one_part_and_each_part_has_both_answers(ports: FakePorts, life: dict[str, Any]) -> None:
    frame = read_snapshot(ports.store, "malignancy", life["snapshots"][0].digest)
    shares = {part: rows.height / 569 for (part,), rows in frame.group_by(["part"])}
    assert frame.height == 569
    assert shares == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.003)
    rates = [rows["target"].mean() for _, rows in frame.group_by(["part"])]
    assert rates == pytest.approx([212 / 569] * 3, abs=0.01)
    assert set(frame.columns) >= {*NAMES, "area_by_radius"}
    assert "finding" not in frame.columns


def test_a_second_version_is_compared_by_cross_fitting_and_passes_the_gates(
    ports: FakePorts, life: dict[str, Any]
) -> None:
    spec, (first, second) = ports.catalog.model("malignancy"), life["results"]
    assert judge_minimum_metrics(first, spec).passed
    assert first.metrics["roc_auc"] > 0.95
    assert second.comparison.method == "cross_fitting"
    assert (second.comparison.rows, second.comparison.unit) == (500, "entity_id")
    verdict = judge_candidate(second, spec)
    assert verdict.passed, verdict.reasons


def test_a_table_that_was_delivered_again_is_built_anew_and_its_snapshot_goes_back_to_the_file(
    ports: FakePorts, life: dict[str, Any]
) -> None:
    view, dataset = ports.catalog.view("tumour"), ports.catalog.dataset("clinic")
    assert stale_days(ports.store, view, dataset) == {}
    assert [snapshot.rows for snapshot in life["snapshots"]] == [569, 500]
    [day] = snapshot_days(ports.store, read_record(ports.store, "malignancy", life["snapshots"][1].digest))
    [read] = day.inputs
    assert (read.table, read.key, [*read.files]) == ("validated/clinic.tumours", ONCE, ["tumours.csv"])


def test_a_table_that_was_replaced_and_not_built_is_stale(ports: FakePorts, life: dict[str, Any]) -> None:
    table = "validated/clinic.tumours"
    before = ports.store.version(table)
    assert life
    assert before is not None
    ports.store.replace_partition(table, ONCE, ports.store.read(table, partitions=[ONCE]).head(100).drop("partition"))
    view, dataset = ports.catalog.view("tumour"), ports.catalog.dataset("clinic")
    assert stale_days(ports.store, view, dataset) == {FIRST_DATE: [table]}
    with pytest.raises(Unavailable, match=r"features/tumour was built before validated/clinic\.tumours changed"):
        take_snapshot.run(SnapshotRequest(model="malignancy", as_of=NOW), ports)
    ports.store.restore(table, before)
    build_view(ports, "tumour", FIRST_DATE)
    assert stale_days(ports.store, view, dataset) == {}


def test_before_anything_was_validated_the_build_is_refused(ports: FakePorts, tmp_path: Path) -> None:
    empty = FakePorts(settings=ports.settings, catalog=ports.catalog, store=DeltaStore(str(tmp_path / "store")))
    with pytest.raises(Refused, match="has no partition all"):
        build_view(empty, "tumour", FIRST_DATE)
