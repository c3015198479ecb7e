"""A bundle that is not what was registered and approved is found out before it answers anybody; on real bundles."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines import store_paths
from pipelines.messages.release import (
    BundleColumn,
    BundleContract,
    BundleInspection,
    BundleRequest,
    BundleResult,
    InspectionRequest,
    ReleaseFacts,
)
from pipelines.rules.preflight_checklist import judge_checklist
from pipelines.spec.catalog import Catalog
from pipelines.steps import build_bundle, inspect_release
from pipelines.steps.rollouts import design
from pipelines.testing.ports import FakePorts
from tests.declared import shipped_model
from tests.steps.registered_models import digests, register

MODEL = "flight_delay"
LINEAR = {"kind": "sklearn", "class_path": "sklearn.linear_model.LogisticRegression", "parameters": {}}


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    names = (MODEL, "arrival_delay_minutes")
    models = {name: shipped_model(name) for name in names}
    return FakePorts.make(tmp_path, catalog=Catalog(models=models))


def built(ports: FakePorts, tmp_path: Path, *, model: str = MODEL, **estimator: Any) -> BundleResult:
    version = register(ports, tmp_path / f"model{len(ports.registry.versions(model))}", model=model, **estimator)
    return build_bundle.run(BundleRequest(model=model, version=version, digests=digests(ports, model, version)), ports)


def inspected(ports: FakePorts, bundle: BundleResult, champion: str | None = None) -> BundleInspection:
    trained = digests(ports, bundle.model, bundle.version)
    return inspect_release.run(InspectionRequest(bundle=bundle, champion=champion, digests=trained), ports)


def put(ports: FakePorts, bundle: BundleResult, name: str, content: bytes) -> None:
    ports.store.put(store_paths.bundle(bundle.model, bundle.version, name), content)


def forge(ports: FakePorts, bundle: BundleResult, name: str, content: bytes, **manifest: Any) -> BundleResult:
    """Replace a file and everything that tells on it: the manifest and the digest that was handed on."""
    put(ports, bundle, name, content)
    path = store_paths.bundle(bundle.model, bundle.version, "bundle.json")
    found = json.loads(ports.store.get(path)) | manifest
    found["files"][name] = hashlib.sha256(content).hexdigest()
    forged = json.dumps(found).encode()
    ports.store.put(path, forged)
    return bundle.model_copy(update={"sha256": hashlib.sha256(forged).hexdigest()})


def refused(ports: FakePorts, found: BundleInspection, champion: str | None = None) -> list[str]:
    """Why the checklist says no though every gate passed and these bytes were approved."""
    info = ports.registry.get(found.model, found.version)
    approved = info.tags["airworthy.model_digest"]
    spec = ports.catalog.model(found.model)
    return list(judge_checklist(found, ReleaseFacts(approval_digest=approved, champion=champion), spec, ()).reasons)


@pytest.mark.parametrize(
    ("model", "estimator", "predictor"),
    [(MODEL, {}, "onnx"), ("arrival_delay_minutes", {}, "onnx"), (MODEL, LINEAR, "native")],
    ids=["boosted classification", "boosted regression", "linear"],
)
def test_a_bundle_of_the_registered_model_passes(
    ports: FakePorts, tmp_path: Path, model: str, estimator: dict[str, Any], predictor: str
) -> None:
    bundle = built(ports, tmp_path, model=model, **estimator)
    found = inspected(ports, bundle)
    assert refused(ports, found) == []
    assert found.predictor == predictor
    assert found.model_digest == bundle.model_digest
    assert found.rows >= 1000
    assert found.edge_rows > 5
    assert found.latency_p50_ms is not None
    assert 0 < found.latency_p50_ms < 1000
    assert found.contract is not None
    assert [one.name for one in found.contract.columns] == ["carrier", "origin", "distance", "hour"]


@pytest.mark.parametrize("name", ["model.onnx", "categories.json", "golden.json", "bundle.json"])
def test_an_altered_file_is_named(ports: FakePorts, tmp_path: Path, name: str) -> None:
    bundle = built(ports, tmp_path)
    put(ports, bundle, name, ports.store.get(store_paths.bundle(MODEL, bundle.version, name)) + b" ")
    assert any(
        reason.startswith(f"7 security: {name} has sha256") for reason in refused(ports, inspected(ports, bundle))
    )


def test_every_missing_file_is_named(ports: FakePorts, tmp_path: Path) -> None:
    bundle = built(ports, tmp_path)
    for name in ("model.onnx", "golden.parquet"):
        ports.store.delete(store_paths.bundle(MODEL, bundle.version, name))
    reasons = refused(ports, inspected(ports, bundle))
    assert {"7 security: model.onnx is missing", "7 security: golden.parquet is missing"} <= set(reasons)


def test_another_models_onnx_under_a_fitting_manifest_is_found_out(ports: FakePorts, tmp_path: Path) -> None:
    bundle = built(ports, tmp_path)
    other = built(ports, tmp_path, rounds=3)
    foreign = ports.store.get(store_paths.bundle(MODEL, other.version, "model.onnx"))
    reasons = refused(ports, inspected(ports, forge(ports, bundle, "model.onnx", foreign)))
    assert "7 security: model.onnx differs from a new conversion of the registered model" in reasons
    assert any(reason.startswith("2 size: onnx answers differ from the model's by up to") for reason in reasons)


def test_an_onnx_that_does_not_load_is_refused(ports: FakePorts, tmp_path: Path) -> None:
    bundle = built(ports, tmp_path)
    found = inspected(ports, forge(ports, bundle, "model.onnx", b"no graph at all"))
    assert any("4 input validation: the onnx cannot be used" in reason for reason in refused(ports, found))


def test_a_registered_file_changed_after_its_approval_is_refused(ports: FakePorts, tmp_path: Path) -> None:
    bundle = built(ports, tmp_path)
    with (tmp_path / "model0" / "model.ubj").open("ab") as stream:
        stream.write(b" ")
    reasons = refused(ports, inspected(ports, bundle))
    assert any("altered since it was trained" in reason for reason in reasons)


def test_a_model_registered_anew_is_not_the_one_that_was_approved(ports: FakePorts, tmp_path: Path) -> None:
    bundle = built(ports, tmp_path)
    standing = ReleaseFacts(approval_digest="0" * 64)
    verdict = judge_checklist(inspected(ports, bundle), standing, ports.catalog.model(MODEL), ())
    assert any("the approval is of model 000000000000…" in reason for reason in verdict.reasons)


def archive(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        opened.writestr(name, content)
    return target.getvalue()


def array(values: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, values, allow_pickle=True)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.pkl", b"", True),
        ("a.bin", pickle.dumps({"a": 1}), True),
        ("a.bin", pickle.dumps({"a": 1}, protocol=2), True),
        ("a.pt", archive("data.pkl", b"x"), True),
        ("a.zip", archive("data", pickle.dumps([1])), True),
        ("a.npy", array(np.array([{}], dtype=object)), True),
        ("a.npy", array(np.arange(3)), False),
        ("a.skops", archive("schema.json", b"{}"), False),
        ("a.onnx", b"\x08\x08\x12", False),
        ("a.zip", b"PK\x03\x04 broken", False),
    ],
)
def test_a_pickle_is_known_by_name_and_by_content(name: str, content: bytes, found: bool) -> None:
    assert inspect_release.is_pickle(name, content) is found


def test_a_pickle_in_the_bundle_is_refused_and_never_loaded(ports: FakePorts, tmp_path: Path) -> None:
    bundle = built(ports, tmp_path)
    found = inspected(ports, forge(ports, bundle, "extra.bin", pickle.dumps({"a": 1})))
    assert "7 security: extra.bin contains a pickle, and loading a pickle runs code" in refused(ports, found)
    assert found.rows == 0


def features(*columns: tuple[str, str], **bounds: Any) -> list[dict[str, Any]]:
    return [{"name": name, "type": kind} | bounds.get(name, {}) for name, kind in columns]


LIVE = (("carrier", "categorical"), ("origin", "categorical"), ("distance", "numeric"), ("hour", "numeric"))


@pytest.mark.parametrize(
    ("live", "output", "changes", "narrowed"),
    [
        (features(*LIVE), "probability", [], []),
        (features(*reversed(LIVE)), "probability", [], []),
        (features(*LIVE[:3]), "probability", ["column hour is new"], []),
        (features(*LIVE, ("seats", "numeric")), "probability", ["column seats is no longer accepted"], []),
        (features(*LIVE[:3], ("hour", "categorical")), "probability", ["column hour is numeric, was categorical"], []),
        (features(*LIVE), "value", ["the output is a probability, was a value"], []),
        (features(*LIVE, distance={"minimum": 5, "maximum": 10}), "probability", [], []),
    ],
)
def test_the_contract_is_held_against_the_live_versions(
    ports: FakePorts, tmp_path: Path, live: list[dict[str, Any]], output: str, changes: list[str], narrowed: list[str]
) -> None:
    bundle = built(ports, tmp_path)
    manifest = {"version": "0", "features": live, "output": output}
    ports.store.put(store_paths.bundle(MODEL, "0", "bundle.json"), json.dumps(manifest).encode())
    found = inspected(ports, bundle, champion="0")
    assert found.contract_changes == changes
    assert found.narrowed == narrowed
    reasons = refused(ports, found, champion="0")
    assert [reason for reason in reasons if "without a new major version" in reason] == [
        f"3 contract: changed without a new major version (no number to no number): {'; '.join(changes)}"
    ] * bool(changes)


def test_a_live_version_whose_contract_is_gone_is_told(ports: FakePorts, tmp_path: Path) -> None:
    found = inspected(ports, built(ports, tmp_path), champion="99")
    assert found.champion_fault is not None
    assert any(
        "bundle.json of the live version 99 cannot be read" in reason for reason in refused(ports, found, champion="99")
    )


def test_traffic_counts_callers_requests_of_the_last_days_once_each(ports: FakePorts) -> None:
    now = ports.clock()

    def rows(*told: tuple[float, int, str, float]) -> bytes:
        content = io.BytesIO()
        pl.DataFrame(
            {
                "logged_at": [now - timedelta(days=days) for days, *_ in told],
                "row": [row for _, row, _, _ in told],
                "role": [role for _, _, role, _ in told],
                "weight": [weight for *_, weight in told],
            },
            schema_overrides={"logged_at": pl.Datetime("us", "UTC")},
        ).write_parquet(content)
        return content.getvalue()

    assert inspect_release.recent_traffic(ports, MODEL) is None
    told = [(2.0, 0, "champion", 1.0), (2.0, 1, "champion", 1.0), (1.0, 0, "candidate", 4.0)]
    told += [(1.0, 0, "shadow", 1.0), (1.0, 0, "probe", 1.0), (9.0, 0, "champion", 1.0)]
    ports.store.put(f"{store_paths.predictions(MODEL)}date={now:%Y-%m-%d}/part-1.parquet", rows(*told))
    found = inspect_release.recent_traffic(ports, MODEL)
    assert found is not None
    assert (found.requests, found.per_day) == (5.0, pytest.approx(2.5))


def test_requests_dated_into_the_past_count_by_when_they_were_answered(ports: FakePorts) -> None:
    content = io.BytesIO()
    moment = ports.clock() - timedelta(hours=12)
    pl.DataFrame({"logged_at": [moment] * 30}).write_parquet(content)
    ports.store.put(f"{store_paths.predictions(MODEL)}date=2001-01-05/part-1.parquet", content.getvalue())
    found = inspect_release.recent_traffic(ports, MODEL)
    assert found is not None
    assert found.per_day == pytest.approx(60)


def test_a_load_test_of_today_hides_no_request_that_is_dated_into_the_past(ports: FakePorts) -> None:
    moment = ports.clock() - timedelta(hours=12)
    for day, role in ((f"{moment:%Y-%m-%d}", "probe"), ("2001-01-05", "champion")):
        content = io.BytesIO()
        pl.DataFrame({"logged_at": [moment] * 30, "role": [role] * 30}).write_parquet(content)
        ports.store.put(f"{store_paths.predictions(MODEL)}date={day}/part-1.parquet", content.getvalue())
    found = inspect_release.recent_traffic(ports, MODEL)
    assert found is not None
    assert found.requests == 30


def test_a_range_that_holds_less_than_before_is_told() -> None:
    def contract(**bounds: float | None) -> BundleContract:
        return BundleContract(
            version="1", output="value", columns=[BundleColumn(name="distance", type="numeric", **bounds)]
        )

    live = contract(minimum=1, maximum=100)
    assert inspect_release.narrowed_ranges(live, contract(minimum=0, maximum=200)) == []
    assert inspect_release.narrowed_ranges(live, contract(minimum=2, maximum=None)) == ["distance: least 2, was 1"]
    assert inspect_release.narrowed_ranges(contract(), live) == [
        "distance: least 1, was none",
        "distance: most 100, was none",
    ]


def test_of_very_many_files_an_even_sample_counts_for_all(ports: FakePorts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(design, "MAX_FILES", 10)
    moment = ports.clock() - timedelta(days=1)
    content = io.BytesIO()
    pl.DataFrame({"logged_at": [moment] * 4}).write_parquet(content)
    for worker in range(4):
        for number in range(25):
            path = f"{store_paths.predictions(MODEL)}date={moment:%Y-%m-%d}/part-{worker}-{number}.parquet"
            ports.store.put(path, content.getvalue())
    read: list[str] = []
    get = ports.store.get
    ports.store.get = lambda path: read.append(path) or get(path)
    found = design.recent_traffic(ports, MODEL)
    assert found is not None
    assert found.requests == pytest.approx(400)
    assert len(read) == 10
    assert {path.split("part-")[1][0] for path in read} == {"0", "1", "2", "3"}
