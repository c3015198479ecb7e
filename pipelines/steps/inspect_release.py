"""Inspects a bundle: reads its files, compares them with the registered model, runs them, and sizes the rollout."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.release import (
    BundleColumn,
    BundleContract,
    BundleInspection,
    BundleResult,
    InspectionRequest,
    LoggedTraffic,
    StageDesign,
)
from pipelines.messages.training import ModelDigests
from pipelines.ports import Ports
from pipelines.rollout.from_spec import plan_faults
from pipelines.spec.model import ModelSpec
from pipelines.steps.build_bundle import MANIFEST, model_files
from pipelines.steps.bundling.conversion import NotConvertible, booster_score, onnx_score
from pipelines.steps.bundling.parity import Array, compare
from pipelines.steps.bundling.reference_rows import EXTREME_NUMBERS, UNSEEN_CATEGORY
from pipelines.steps.load_testing.candidate_endpoint import endpoint_fault
from pipelines.steps.load_testing.evidence import requests_needed
from pipelines.steps.models.registered_model import LoadedModel, judged_digest, load_model
from pipelines.steps.rollouts.design import recent_traffic, rollout_design
from pipelines.tables.encoding import FeatureInput, encode

LATENCY_CALLS, WARM_UP_CALLS, LATENCY_SECONDS = 200, 5, 2.0
"""Latency: calls with one row at most, calls before the measurement, and seconds at most."""
ABOVE_FLOAT32 = 1e39
"""Beyond 32-bit floats: the predictor must refuse it."""
MAX_FAULTS = 20
Predict = Callable[[pl.DataFrame], Array]


def run(request: InspectionRequest, ports: Ports) -> BundleInspection:
    """Read every file of the bundle, compare it with the registered model, run it, and size the rollout.

    Faults of the bundle are listed in the result, not raised. Raises ``Unavailable`` when the store or MLflow does not
    answer, and ``Refused`` for a version that the registry does not know.
    """
    bundle = request.bundle
    spec = ports.catalog.model(bundle.model)
    load_test = spec.deployment.load_test
    fields: dict[str, Any] = {"faults": [], "notes": list(bundle.notes)}
    files, manifest = _read_bundle(bundle, ports, fields["faults"])
    fields["pickles"] = [name for name, content in files.items() if is_pickle(name, content)]
    if manifest is not None:
        fields["contract"] = contract(manifest, request.semantic_versions)
        fields["untyped"] = _untyped_columns(fields["contract"], files.get("schema.json"))
        fields |= _compare_with_champion(request, fields["contract"], ports)
    if (model := _load_registered(bundle, request.digests, ports, fields["faults"])) is not None:
        fields["model_digest"] = model.model_digest
        fields["judged_digest"] = judged_digest(model.folder)
        if manifest is not None and not fields["faults"] and not fields["pickles"]:
            fields["altered"] = _altered_files(model, bundle.predictor, manifest)
            fields |= _try_predictor(model, bundle.predictor, manifest, files, spec.evaluation.threshold)
    traffic = recent_traffic(ports, bundle.model)
    return BundleInspection(
        model=bundle.model,
        version=bundle.version,
        bundle_bytes=sum(map(len, files.values())),
        predictor=bundle.predictor,
        traffic=traffic,
        design=_design(spec, traffic) if request.champion is not None else [],
        plan_faults=plan_faults(spec),
        load_test_fault=endpoint_fault(spec.deployment, ports.target(bundle.model)) if load_test else None,
        load_test_needs=requests_needed(load_test, spec.deployment.analysis.alpha) if load_test else {},
        **fields,
    )


def _design(spec: ModelSpec, traffic: LoggedTraffic | None) -> list[StageDesign]:
    """The stages of the rollout; none if its limits are refused, for which ``plan_faults`` has the reasons."""
    try:
        return rollout_design(spec, traffic.per_day if traffic is not None else None)
    except Refused:
        return []


def _read_bundle(
    bundle: BundleResult, ports: Ports, faults: list[str]
) -> tuple[dict[str, bytes], dict[str, Any] | None]:
    """Every stored file, and the manifest if valid; adds to ``faults`` what is missing or has another digest."""
    place = store_paths.bundle(bundle.model, bundle.version)
    try:
        content = ports.store.get(place + MANIFEST)
    except Refused as error:
        faults.append(f"{MANIFEST}: {error}")
        return {}, None
    if (digest := _sha256(content)) != bundle.sha256:
        faults.append(f"{MANIFEST} has sha256 {digest}, the bundle that was built has {bundle.sha256}")
    try:
        manifest = json.loads(content)
        named = {str(name): str(value) for name, value in manifest["files"].items()}
        _ = manifest["features"], manifest["output"], manifest["entry"], manifest["version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        faults.append(f"{MANIFEST} is not a manifest: {type(error).__name__}: {error}")
        return {MANIFEST: content}, None
    files = {MANIFEST: content}
    for name, expected in named.items():
        if name.startswith("/") or ".." in name.split("/"):
            faults.append(f"{name!r} points outside the bundle")
            continue
        try:
            files[name] = ports.store.get(place + name)
        except Refused:
            faults.append(f"{name} is missing")
            continue
        if (digest := _sha256(files[name])) != expected:
            faults.append(f"{name} has sha256 {digest}, the manifest says {expected}")
    return files, manifest


def is_pickle(name: str, content: bytes) -> bool:
    """Whether loading this file could run code: a pickle by name or by content, or an archive that holds one."""
    if name.endswith((".pkl", ".pickle", ".joblib", ".cloudpickle")):
        return True
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and content.endswith(b"."):
        return True
    if content.startswith(b"\x93NUMPY"):
        return b"|O" in content[:256]
    if not content.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(is_pickle(member, archive.read(member)) for member in archive.namelist())
    except zipfile.BadZipFile:
        return False


def contract(manifest: Mapping[str, Any], semantic_versions: Mapping[str, str]) -> BundleContract:
    """The contract of a manifest with callers; the version of the ledger's approval says how much may change."""
    version = str(manifest["version"])
    columns = [
        BundleColumn(
            name=col["name"], type=col.get("type") or "", minimum=col.get("minimum"), maximum=col.get("maximum")
        )
        for col in manifest["features"]
    ]
    return BundleContract(
        version=version, semantic=semantic_versions.get(version), output=manifest["output"], columns=columns
    )


def _untyped_columns(contract: BundleContract, schema: bytes | None) -> list[str]:
    try:
        typed = {column["name"]: column["type"] for column in json.loads(schema or b"{}").get("columns", [])}
    except (ValueError, KeyError, TypeError, AttributeError):
        typed = {}
    return [
        column.name
        for column in contract.columns
        if column.type not in ("numeric", "categorical") or typed.get(column.name) != column.type
    ]


def _compare_with_champion(request: InspectionRequest, new: BundleContract, ports: Ports) -> dict[str, Any]:
    if request.champion is None:
        return {}
    model, version = request.bundle.model, request.champion
    try:
        manifest = json.loads(ports.store.get(store_paths.bundle(model, version, MANIFEST)))
        live = contract(manifest, request.semantic_versions)
    except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"{MANIFEST} of the live version {version} cannot be read ({error})"
        return {"champion_fault": f"{fault}; deploy version {version} again to rebuild it"}
    return {"champion": live, "contract_changes": contract_changes(live, new), "narrowed": narrowed_ranges(live, new)}


def contract_changes(live: BundleContract, candidate: BundleContract) -> list[str]:
    """What callers of the live version would have to change."""
    old, new = ({column.name: column.type for column in bundle.columns} for bundle in (live, candidate))
    diffs = [f"column {name} is no longer accepted" for name in old if name not in new]
    diffs += [f"column {name} is new" for name in new if name not in old]
    diffs += [f"column {name} is {new[name]}, was {old[name]}" for name in new if old.get(name, new[name]) != new[name]]
    if live.output != candidate.output:
        diffs.append(f"the output is a {candidate.output}, was a {live.output}")
    return diffs


def narrowed_ranges(live: BundleContract, candidate: BundleContract) -> list[str]:
    """Ranges that the live version accepts and the candidate refuses."""
    old = {column.name: column for column in live.columns}
    changes = []
    for column in candidate.columns:
        before = old.get(column.name)
        if before is None:
            continue
        if column.minimum is not None and (before.minimum is None or column.minimum > before.minimum):
            changes.append(f"{column.name}: least {column.minimum:g}, was {_bound_text(before.minimum)}")
        if column.maximum is not None and (before.maximum is None or column.maximum < before.maximum):
            changes.append(f"{column.name}: most {column.maximum:g}, was {_bound_text(before.maximum)}")
    return changes


def _load_registered(
    bundle: BundleResult, digests: ModelDigests, ports: Ports, faults: list[str]
) -> LoadedModel | None:
    try:
        return load_model(ports.registry.get(bundle.model, bundle.version), ports, digests)
    except Refused as error:
        faults.append(f"the registered model: {' '.join(str(error).split())}")
        return None


def _altered_files(model: LoadedModel, predictor: str, manifest: Mapping[str, Any]) -> list[str]:
    """Files that differ from the registered model's, though their digests agree with the manifest."""
    try:
        files = model_files(model, predictor)
    except (NotConvertible, KeyError) as error:
        return [f"the registered model has no {predictor}: {error}"]
    named: Mapping[str, str] = manifest["files"]
    altered = [name for name, content in files.items() if named.get(name) != _sha256(content)]
    return altered + ([] if manifest["entry"] in files else [str(manifest["entry"])])


def _try_predictor(
    model: LoadedModel, predictor: str, manifest: Mapping[str, Any], files: Mapping[str, bytes], threshold: float
) -> dict[str, Any]:
    """Parity with the registered model, edge rows and latency of the predictor opened from the bundle's bytes."""
    try:
        predict_rows, prepare_call = _open_predictor(model, predictor, manifest["entry"], files)
        golden = pl.read_parquet(io.BytesIO(files["golden.parquet"]))
        rows = golden.select(_cast_columns(model.inputs))
        classifies = model.problem == "classification"
        parity = compare(predict_rows(rows), model.predict(rows), (0.5, threshold) if classifies else ())
        edges = _edge_faults(predict_rows, model.inputs, classifies)
        latencies = _latencies(prepare_call, rows.slice(rows.height // 2, 1))
    except Exception as error:  # a library may raise anything on a broken file: it is a fault
        return {"edge_faults": [f"the {predictor} cannot be used: {_first_line(error)}"]}
    return {
        "rows": parity.rows,
        "largest_difference": parity.largest_difference if np.isfinite(parity.largest_difference) else None,
        "flips": parity.flips,
        "edge_rows": len(_edge_rows(model.inputs)),
        "edge_faults": edges[:MAX_FAULTS],
        "latency_p50_ms": float(np.percentile(latencies, 50)),
        "latency_p99_ms": float(np.percentile(latencies, 99)),
        "calls": len(latencies),
    }


def _open_predictor(
    model: LoadedModel, predictor: str, entry: str, files: Mapping[str, bytes]
) -> tuple[Predict, Callable[[pl.DataFrame], Callable[[], object]]]:
    """A function that predicts rows, and one that prepares a call with one row as the gateway makes it."""
    if predictor == "onnx":
        score = onnx_score(files[entry], model.problem == "classification")
    elif model.estimator == "xgboost":
        score = booster_score(files[entry])
    else:
        from pipelines.steps.training import skops_file
        from pipelines.steps.training.sklearn_estimator import predict

        estimator = skops_file.load(files[entry])
        score = lambda matrix: predict(estimator, model.problem, matrix)  # noqa: E731 - as in the other branches

    def call(row: pl.DataFrame) -> Callable[[], object]:
        matrix = encode(row, model.inputs)
        return lambda: score(matrix)

    return lambda rows: score(encode(rows, model.inputs)), call


def _edge_rows(inputs: list[FeatureInput]) -> list[dict[str, Any]]:
    """Rows of nulls, of every extreme, and with each column null alone."""
    names = [feature.name for feature in inputs]
    text = {feature.name: UNSEEN_CATEGORY for feature in inputs if feature.type == "categorical"}
    numbers = [feature.name for feature in inputs if feature.type == "numeric"]
    rows: list[dict[str, Any]] = [dict.fromkeys(names)]
    rows += [text | dict.fromkeys(numbers, value) for value in EXTREME_NUMBERS]
    return rows + [text | dict.fromkeys(numbers, 0.0) | {name: None} for name in names]


def _edge_faults(predict_rows: Predict, inputs: list[FeatureInput], classifies: bool) -> list[str]:
    """Edge rows without a valid prediction, and a feature value above the float32 range that was not refused."""
    faults = []
    for number, row in enumerate(_edge_rows(inputs)):
        named = "all columns null" if number == 0 else f"edge row {number}"
        try:
            scores = predict_rows(pl.DataFrame([row], schema=_schema(inputs)))
        except Exception as error:
            faults.append(f"{named}: {_first_line(error)}")
            continue
        if scores.shape != (1,) or not np.isfinite(scores[0]):
            faults.append(f"{named}: the prediction is {scores.tolist()}, not one finite number")
        elif classifies and not 0 <= scores[0] <= 1:
            faults.append(f"{named}: the prediction {scores[0]:g} is not a probability")
    numbers = [feature.name for feature in inputs if feature.type == "numeric"]
    if numbers:
        row = dict.fromkeys((feature.name for feature in inputs), None) | {numbers[0]: ABOVE_FLOAT32}
        try:
            scores = predict_rows(pl.DataFrame([row], schema=_schema(inputs)))
            faults.append(
                f"{numbers[0]} = {ABOVE_FLOAT32:g} (above float32) must be refused, but gave {scores.tolist()}"
            )
        except Refused:
            pass  # as required
        except Exception as error:
            faults.append(
                f"{numbers[0]} = {ABOVE_FLOAT32:g} (above float32) is not refused but fails: {_first_line(error)}"
            )
    return faults


def _latencies(prepare_call: Callable[[pl.DataFrame], Callable[[], object]], row: pl.DataFrame) -> list[float]:
    """Milliseconds of each call with one row."""
    call, latencies = prepare_call(row), list[float]()
    for _ in range(WARM_UP_CALLS):
        call()
    begun = time.perf_counter()
    while len(latencies) < LATENCY_CALLS and (not latencies or time.perf_counter() - begun < LATENCY_SECONDS):
        started = time.perf_counter()
        call()
        latencies.append((time.perf_counter() - started) * 1000)
    return latencies


def _cast_columns(inputs: list[FeatureInput]) -> list[pl.Expr]:
    return [pl.col(name).cast(kind) for name, kind in _schema(inputs).items()]


def _schema(inputs: list[FeatureInput]) -> dict[str, Any]:
    return {feature.name: pl.String if feature.type == "categorical" else pl.Float64 for feature in inputs}


def _bound_text(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]:.200}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
