"""Builds a version's bundle with the first of ONNX and native that predicts as the registered model does."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as library_version
from typing import Any, Literal

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.release import BundleRequest, BundleResult
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.column_categories import column_categories
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.bundling.conversion import NotConvertible, booster_score, onnx_score, to_onnx
from pipelines.steps.bundling.parity import Array, Parity, compare
from pipelines.steps.bundling.reference_rows import reference_rows
from pipelines.steps.models.registered_model import SNAPSHOT_TAG, LoadedModel, load_model, read_model_folder
from pipelines.steps.snapshot.files import open_files
from pipelines.steps.snapshot.split import PARTS
from pipelines.tables.encoding import categories_json, encode
from pipelines.tables.parquet_bytes import parquet_bytes

MANIFEST = "bundle.json"
GOLDEN_ROWS = 64
"""Rows that each worker scores before it serves a bundle."""
SNAPSHOT_SAMPLE_ROWS = 100_000
"""Rows sampled from a snapshot in batches."""
LIBRARIES = ("numpy", "onnx", "onnxmltools", "onnxruntime", "polars", "scikit-learn", "skl2onnx", "skops", "xgboost")


@dataclass(frozen=True)
class PredictorChoice:
    """One way to serve the model: its files, ``entry`` (the one to open), and ``predict``, which takes a frame."""

    predictor: Literal["onnx", "native"]
    entry: str
    files: dict[str, bytes]
    predict: Callable[[pl.DataFrame], Array]


def run(request: BundleRequest, ports: Ports) -> BundleResult:
    """Write ``bundles/<model>/<version>/`` with the first of ONNX and native whose answers agree.

    Files: the model, ``categories.json``, ``schema.json`` (name and type of each column), ``golden.parquet`` (the
    reference rows and the registered model's answers), ``golden.json`` (64 of them) and, written last,
    ``bundle.json`` (sha256 of every file). The bundle's digest is that of ``bundle.json``; the same version and
    libraries give the same digest, and a complete bundle is not built again.
    Raises ``Refused`` if the model's files differ from the registered ones, or if no predictor agrees with it.
    """
    info = ports.registry.get(request.model, request.version)
    model = load_model(info, ports, request.digests)
    spec = ports.catalog.model(request.model)
    if model.problem != spec.problem:
        subject = f"{request.model} {request.version} is a {model.problem} model, the declaration says {spec.problem}"
        raise Refused(subject)
    existing = _existing_bundle(info, model, ports)
    if existing is not None:
        return existing
    rows = reference_rows(_snapshot_rows(info, ports), model.inputs)
    expected = model.predict(rows)
    thresholds = (0.5, spec.evaluation.threshold) if model.problem == "classification" else ()
    chosen, parity, notes = _choose_predictor(model, rows, expected, thresholds)
    files = chosen.files | _description_files(model, rows, expected)
    view = ports.catalog.views.get(spec.view)
    columns = _columns(model, view, ports.catalog.datasets.get(view.dataset) if view else None)
    content = _manifest(info, model, chosen, files, parity, notes, columns, view.key if view else [])
    for name, file in files.items():
        ports.store.put(store_paths.bundle(info.model, info.version, name), file)
    ports.store.put(store_paths.bundle(info.model, info.version, MANIFEST), content)
    return _bundle_result(info, content, ports)


def model_files(model: LoadedModel, predictor: str) -> dict[str, bytes]:
    """The files of one predictor in a bundle of this model: the same model and libraries give the same bytes.

    Raises ``NotConvertible`` where the model has no such predictor, ``KeyError`` for an unknown one.
    """
    choice = {"onnx": _onnx_choice, "native": _native_choice}[predictor](model)
    return choice.files | {"categories.json": categories_json(model.inputs)}


def _choose_predictor(
    model: LoadedModel, rows: pl.DataFrame, expected: Array, thresholds: tuple[float, ...]
) -> tuple[PredictorChoice, Parity, list[str]]:
    notes: list[str] = []
    for attempt in (_onnx_choice, _native_choice):
        try:
            candidate = attempt(model)
        except NotConvertible as error:
            notes.append(f"{attempt.__name__[1:]}: {error}")
            continue
        try:
            parity = compare(candidate.predict(rows), expected, thresholds)
        except Exception as error:  # a runtime that fails on an awkward row would fail on a request
            notes.append(f"{candidate.predictor}: fails on a reference row: {_first_line(error)}")
            continue
        if parity.holds:
            return candidate, parity, notes
        notes.append(f"{candidate.predictor}: {parity}")
    raise Refused("no predictor agrees with the registered model; correct the model or its libraries", notes)


def _onnx_choice(model: LoadedModel) -> PredictorChoice:
    content = to_onnx(model.native, len(model.inputs))
    try:
        score = onnx_score(content, model.problem == "classification")
    except Exception as error:  # the runtime may raise anything on a graph that it cannot open
        raise NotConvertible(_first_line(error)) from error
    return PredictorChoice(
        "onnx", "model.onnx", {"model.onnx": content}, lambda rows: score(encode(rows, model.inputs))
    )


def _native_choice(model: LoadedModel) -> PredictorChoice:
    """The registered file itself: XGBoost's own, or skops for scikit-learn."""
    name, content = model.native_file.name, model.native_file.read_bytes()
    if model.estimator == "xgboost":
        score = booster_score(content)
        return PredictorChoice("native", name, {name: content}, lambda rows: score(encode(rows, model.inputs)))
    reloaded = read_model_folder(model.folder)
    return PredictorChoice("native", name, {name: content}, reloaded.predict)


def _description_files(model: LoadedModel, rows: pl.DataFrame, expected: Array) -> dict[str, bytes]:
    """The files beside the model in every bundle."""
    golden = rows.with_columns(pl.Series("prediction", expected, dtype=pl.Float64))
    golden_rows = golden.gather_every(max(1, golden.height // GOLDEN_ROWS)).head(GOLDEN_ROWS)
    schema = [{"name": feature.name, "type": feature.type} for feature in model.inputs]
    return {
        "categories.json": categories_json(model.inputs),
        "schema.json": _json_bytes({"columns": schema, "problem": model.problem}),
        "golden.parquet": parquet_bytes(golden),
        "golden.json": _json_bytes(
            {
                "rows": [list(row) for row in golden_rows.drop("prediction").iter_rows()],
                "predictions": golden_rows["prediction"].to_list(),
            }
        ),
    }


def _columns(model: LoadedModel, view: FeatureView | None, dataset: DatasetSpec | None) -> list[dict[str, Any]]:
    """Name, type, and the declared range or categories of each feature: what no published day could hold."""
    columns: list[dict[str, Any]] = []
    for feature in model.inputs:
        column: dict[str, Any] = {"name": feature.name, "type": feature.type}
        declared = view.features.get(feature.name) if view else None
        if declared is not None and feature.type == "numeric":
            column |= declared.constraints.model_dump(include={"minimum", "maximum"}, exclude_none=True)
        if declared is not None and view is not None and dataset is not None and feature.type == "categorical":
            allowed = declared.allowed_values() or column_categories(declared.transformation, view, dataset)
            column |= {} if allowed is None else {"allowed": allowed}
        columns.append(column)
    return columns


def _manifest(
    info: VersionInfo,
    model: LoadedModel,
    chosen: PredictorChoice,
    files: Mapping[str, bytes],
    parity: Parity,
    notes: list[str],
    columns: list[dict[str, Any]],
    id_columns: list[str],
) -> bytes:
    return _json_bytes(
        {
            "model": info.model,
            "version": info.version,
            "predictor": chosen.predictor,
            "output": "probability" if model.problem == "classification" else "value",
            "features": columns,
            "id_columns": id_columns,
            "files": {name: _sha256(content) for name, content in sorted(files.items())},
            "model_digest": model.model_digest,
            "entry": chosen.entry,
            "libraries": _libraries(),
            "parity": {"rows": parity.rows, "largest_difference": parity.largest_difference},
            "notes": notes,
        }
    )


def _existing_bundle(info: VersionInfo, model: LoadedModel, ports: Ports) -> BundleResult | None:
    """The stored bundle, if it is complete and built from this model."""
    path = store_paths.bundle(info.model, info.version, MANIFEST)
    if not ports.store.exists(path):
        return None
    content = ports.store.get(path)
    try:
        manifest = json.loads(content)
        same = (
            manifest["model_digest"] == model.model_digest
            and manifest["files"]["categories.json"] == _sha256(categories_json(model.inputs))
            and manifest["libraries"] == _libraries()
            and all(_sha256(file) == manifest["files"][name] for name, file in _files(info, manifest, ports))
        )
    except (ValueError, KeyError, TypeError, AttributeError, Refused):
        return None
    return _bundle_result(info, content, ports) if same else None


def _files(info: VersionInfo, manifest: Mapping[str, Any], ports: Ports) -> Iterator[tuple[str, bytes]]:
    for name in manifest["files"]:
        yield name, ports.store.get(store_paths.bundle(info.model, info.version, name))


def _bundle_result(info: VersionInfo, content: bytes, ports: Ports) -> BundleResult:
    manifest = json.loads(content)
    return BundleResult(
        model=info.model,
        version=info.version,
        uri=ports.store.uri(store_paths.bundle(info.model, info.version)),
        predictor=manifest["predictor"],
        sha256=_sha256(content),
        model_digest=manifest["model_digest"],
        parity_rows=manifest["parity"]["rows"],
        largest_difference=manifest["parity"]["largest_difference"],
        notes=manifest["notes"],
    )


def _snapshot_rows(info: VersionInfo, ports: Ports) -> pl.DataFrame:
    digest = info.tags.get(SNAPSHOT_TAG)
    if not digest:
        raise Refused(f"{info.model} {info.version} has no tag {SNAPSHOT_TAG}; train it by the train step")
    if files := open_files(ports.store, info.model, digest):
        return files.sample(SNAPSHOT_SAMPLE_ROWS, *PARTS)
    return pl.read_parquet(io.BytesIO(ports.store.get(store_paths.snapshot(info.model, digest, "data.parquet"))))


def _libraries() -> dict[str, str]:
    return {name: library_version(name) for name in LIBRARIES}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]:.200}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json_bytes(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()
