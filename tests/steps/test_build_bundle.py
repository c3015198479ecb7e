"""A registered model becomes a bundle that the gateway can load, answers alike, and is the same every time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.release import BundleRequest
from pipelines.rules.preflight_items import MINIMUM_PARITY_ROWS
from pipelines.serving.models import bundle as served
from pipelines.serving.models.predictor import known_categories, load
from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from pipelines.spec.deployment import PARITY_LIMIT
from pipelines.spec.features import Constraints
from pipelines.steps import build_bundle
from pipelines.steps.bundling.parity import compare
from pipelines.steps.bundling.reference_rows import reference_rows
from pipelines.tables.encoding import learn_inputs
from pipelines.testing.ports import FakePorts
from tests.declared import shipped_model, shipped_view
from tests.steps.registered_models import TYPES, digests, fetched, register, snapshot


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    names = ("flight_delay", "arrival_delay_minutes")
    models = {name: shipped_model(name) for name in names}
    return FakePorts.make(tmp_path, catalog=Catalog(models=models))


def built(ports: FakePorts, version: str, model: str = "flight_delay") -> Any:
    return build_bundle.run(BundleRequest(model=model, version=version, digests=digests(ports, model, version)), ports)


@pytest.mark.parametrize(
    ("model", "estimator", "predictor"),
    [
        ("flight_delay", {}, "onnx"),
        ("arrival_delay_minutes", {}, "onnx"),
        (
            "flight_delay",
            {"kind": "sklearn", "class_path": "sklearn.linear_model.LogisticRegression", "parameters": {}},
            "native",
        ),
        (
            "flight_delay",
            {
                "kind": "sklearn",
                "class_path": "sklearn.ensemble.HistGradientBoostingClassifier",
                "parameters": {"max_iter": 5},
            },
            "native",
        ),
    ],
    ids=["boosted classification", "boosted regression", "linear", "sklearn's boosting"],
)
def test_the_gateway_loads_the_bundle_and_answers_as_the_model(
    ports: FakePorts, tmp_path: Path, model: str, estimator: dict[str, Any], predictor: str
) -> None:
    version = register(ports, tmp_path / "model", model=model, **estimator)
    result = built(ports, version, model)
    assert result.predictor == predictor, result.notes
    assert result.parity_rows >= 1000
    assert result.largest_difference <= 1e-5
    live = load(fetched(ports, model, version, tmp_path / "bundle"), result.sha256)
    golden = pl.read_parquet(tmp_path / "bundle" / "golden.parquet")
    columns = [golden[name].to_list() for name in live.manifest.names]
    answers = live.predict(columns, golden.height)
    np.testing.assert_allclose(answers, golden["prediction"].to_numpy(), rtol=1e-5, atol=1e-5)
    assert result.parity_rows >= MINIMUM_PARITY_ROWS
    assert result.largest_difference <= PARITY_LIMIT


def test_building_again_gives_the_same_bytes_and_the_same_digest(ports: FakePorts, tmp_path: Path) -> None:
    version = register(ports, tmp_path / "model")
    first = built(ports, version)
    files = {path: ports.store.get(path) for path in ports.store.list(store_paths.bundle("flight_delay", version))}
    assert built(ports, version) == first
    for path in files:
        ports.store.delete(path)
    assert built(ports, version) == first
    assert {path: ports.store.get(path) for path in files} == files


def test_a_bundle_whose_files_were_altered_is_built_anew(ports: FakePorts, tmp_path: Path) -> None:
    version = register(ports, tmp_path / "model")
    first = built(ports, version)
    path = store_paths.bundle("flight_delay", version, "categories.json")
    whole = ports.store.get(path)
    ports.store.put(path, b"{}")
    assert built(ports, version) == first
    assert ports.store.get(path) == whole


def test_where_onnx_answers_otherwise_the_native_file_is_served_and_the_reason_noted(
    ports: FakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(ports, tmp_path / "model")
    monkeypatch.setattr(
        build_bundle, "onnx_score", lambda content, probability: lambda matrix: np.full(len(matrix), 0.4)
    )
    result = built(ports, version)
    assert result.predictor == "native"
    assert [note for note in result.notes if note.startswith("onnx: largest difference")] == result.notes
    live = load(fetched(ports, "flight_delay", version, tmp_path / "bundle"), result.sha256)
    assert live.manifest.entry == "model.ubj"


def test_a_model_with_which_no_predictor_agrees_gets_no_bundle(
    ports: FakePorts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(ports, tmp_path / "model")
    for name in ("onnx_score", "booster_score"):
        monkeypatch.setattr(build_bundle, name, lambda *_: lambda matrix: np.full(len(matrix), 0.4))
    with pytest.raises(Refused, match=r"no predictor agrees(.|\n)*onnx: largest difference(.|\n)*native: largest"):
        built(ports, version)
    assert ports.store.list("bundles/") == []


def test_a_model_altered_since_it_was_registered_gets_no_bundle(ports: FakePorts, tmp_path: Path) -> None:
    version = register(ports, tmp_path / "model")
    with (tmp_path / "model" / "model.ubj").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(Refused, match="altered since it was trained"):
        built(ports, version)
    assert ports.store.list("bundles/") == []


def test_the_manifest_names_the_columns_of_which_a_callers_ids_are_made(ports: FakePorts, tmp_path: Path) -> None:
    ports.catalog = replace(ports.catalog, views={"flight_delay": shipped_view()})
    version = register(ports, tmp_path / "model")
    built(ports, version)
    manifest = served.read_manifest(ports.store.get(store_paths.bundle("flight_delay", version, "bundle.json")))
    assert manifest.id_columns == ["time_hour", "carrier", "flight"]


def test_the_manifest_names_every_file_and_the_libraries(ports: FakePorts, tmp_path: Path) -> None:
    version = register(ports, tmp_path / "model")
    result = built(ports, version)
    manifest = json.loads(ports.store.get(store_paths.bundle("flight_delay", version, "bundle.json")))
    assert set(manifest["files"]) == {"model.onnx", "categories.json", "schema.json", "golden.parquet", "golden.json"}
    assert manifest["libraries"].keys() >= {"xgboost", "onnxruntime"}
    content = ports.store.get(store_paths.bundle("flight_delay", version, "bundle.json"))
    assert served.sha256_hex(content) == result.sha256


def test_the_manifest_has_the_ranges_and_categories_that_are_declared(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, catalog=Catalog.read(REPOSITORY / "include"))
    version = register(ports, tmp_path / "model")
    result = built(ports, version)
    manifest = served.read_manifest(ports.store.get(store_paths.bundle("flight_delay", version, "bundle.json")))
    features = {feature.name: (feature.minimum, feature.maximum) for feature in manifest.features}
    assert features["distance"] == (1, 10000)
    assert features["carrier"] == (None, None)
    allowed = {feature.name: feature.allowed for feature in manifest.features if feature.type == "categorical"}
    assert allowed["origin"] == ["EWR", "JFK", "LGA"], "as the contract of the flights lists them"
    assert allowed["carrier"] is None
    known = known_categories(load(fetched(ports, "flight_delay", version, tmp_path / "bundle"), result.sha256))
    assert known["origin"] == {"EWR", "JFK", "LGA", None}
    assert known["carrier"] == {"AA", "B6", "DL", "UA", None}, "where the contract lists none, those of the training"


def test_the_categories_that_the_view_allows_are_those_of_the_manifest(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, catalog=Catalog.read(REPOSITORY / "include"))
    features = ports.catalog.view("flight_delay").features
    features["carrier"] = features["carrier"].model_copy(update={"constraints": Constraints(allowed=["AA", "UA"])})
    version = register(ports, tmp_path / "model")
    built(ports, version)
    manifest = served.read_manifest(ports.store.get(store_paths.bundle("flight_delay", version, "bundle.json")))
    assert {feature.name: feature.allowed for feature in manifest.features}["carrier"] == ["AA", "UA"]


@pytest.mark.parametrize("height", [1, 7, 999, 1500, 5000])
def test_there_are_always_a_thousand_reference_rows_with_every_awkward_value(height: int) -> None:
    frame = snapshot(height)
    inputs = learn_inputs(snapshot(), TYPES)
    rows = reference_rows(frame, inputs)
    assert rows.height >= 1000
    assert rows.equals(reference_rows(frame, inputs))
    for feature in inputs:
        assert rows[feature.name].null_count() > 0
        if feature.type == "categorical":
            assert (~rows[feature.name].drop_nulls().is_in(feature.categories)).any()
        else:
            assert rows[feature.name].max() == 1e30
            assert rows[feature.name].min() == -1e30


@pytest.mark.parametrize(
    ("found", "expected", "holds"),
    [
        ([0.5, 0.1], [0.5, 0.1], True),
        ([0.500001, 0.1], [0.500002, 0.1], True),
        ([0.49999999, 0.1], [0.50000001, 0.1], False),
        ([0.5001, 0.1], [0.5, 0.1], False),
        ([float("nan"), 0.1], [0.5, 0.1], False),
        ([0.5], [0.5, 0.1], False),
        ([1000.005, 0.1], [1000.0, 0.1], True),
    ],
)
def test_parity_allows_rounding_and_no_flip(found: list[float], expected: list[float], holds: bool) -> None:
    assert compare(np.array(found), np.array(expected), (0.5,)).holds is holds
