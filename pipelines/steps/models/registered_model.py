"""Loads a registered model natively, after verifying that its files have the registered digests.

A model folder holds the native model (``model.ubj`` or ``model.skops``), ``categories.json`` (the vocabularies) and
``predictor.json`` (what it answers and from which columns); no file of it is code, and none is a pickle. Where the
deployed model was trained again on all rows, ``judged/`` holds the same three files of the model that was judged.
MLflow's ``pyfunc`` flavour reads the folder through ``_load_pyfunc`` below, which checks no digest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import Refused
from pipelines.messages.training import ModelDigests
from pipelines.mlflow_client import fetch_model, open_client
from pipelines.ports import Ports, VersionInfo
from pipelines.spec.fault_text import fault_texts
from pipelines.tables.encoding import FeatureInput, Kind, Matrix, encode, with_vocabularies

PREDICTOR_FILE = "predictor.json"
CATEGORIES_FILE = "categories.json"
JUDGED_FOLDER = "judged"
MODEL_DIGEST_TAG = "airworthy.model_digest"
JUDGED_DIGEST_TAG = "airworthy.judged_digest"
INPUTS_DIGEST_TAG = "airworthy.inputs_digest"
SNAPSHOT_TAG = "airworthy.snapshot"
MLFLOW_DOWNLOAD_NOTE = "registered_model_meta"
Problem = Literal["classification", "regression"]
EstimatorKind = Literal["xgboost", "sklearn"]
ModelPart = Literal["deployed", "judged"]
"""Which model of a version: the one that serves, or the one that its gates judged. Without a refit they are one."""
Answers = npt.NDArray[np.float64]


class PredictorFile(BaseModel):
    """``predictor.json``. ``features``: name to type, in the model's order; ``native``: name of the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = 1
    model: str
    problem: Problem
    estimator: EstimatorKind
    native: str
    features: dict[str, Kind]


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. ``predict`` takes the feature columns, categories as text, and answers once per row.

    ``features`` names the columns; ``inputs`` are the same with types and vocabularies; ``native`` is the booster or
    the sklearn estimator, which takes the encoded matrix; ``folder`` holds its files while this object lives.
    """

    problem: Problem
    estimator: EstimatorKind
    inputs: list[FeatureInput]
    native: Any
    folder: Path
    native_file: Path
    model_digest: str
    score: Callable[[Matrix], Answers]

    @property
    def features(self) -> list[str]:
        return [feature.name for feature in self.inputs]

    def predict(self, frame: pl.DataFrame) -> Answers:
        """Probability of the positive class, or the value. ``Refused`` for a frame that lacks a feature."""
        if frame.is_empty():
            return np.empty(0, dtype=np.float64)
        return self.score(encode(frame, self.inputs))


def load_model(
    info: VersionInfo, ports: Ports, digests: ModelDigests | None, part: ModelPart = "deployed"
) -> LoadedModel:
    """Fetch, verify by ``digests`` (those of the ledger; None: it has none), load.

    The registry's own tags prove nothing: whoever can write the files can write the tags. ``Refused`` without digests
    and for files with other digests, ``Unavailable`` without MLflow. The files lie in a temporary folder that is
    deleted with the model.
    """
    if digests is None:
        reason = "train it by its train DAG; a version that was registered by other means is never loaded"
        raise Refused(f"the ledger has no training of {info.model} version {info.version}", [reason])
    holder = tempfile.mkdtemp(prefix="airworthy-model-")
    try:
        folder = fetch_model(open_client(ports.settings.tracking), info.source, Path(holder))
        _verify(info, folder, digests)
        model = read_model_folder(_folder_of_part(info, folder, digests, part))
    except BaseException:
        shutil.rmtree(holder, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, holder, ignore_errors=True)
    return model


def _folder_of_part(info: VersionInfo, folder: Path, digests: ModelDigests, part: ModelPart) -> Path:
    """``Refused`` for the judged model of a refitted version where nothing proves its file."""
    judged = folder / JUDGED_FOLDER
    if part == "deployed" or not judged.exists():
        return folder
    if digests.judged_digest is None:
        reason = "its deployed model has learnt the rows that it would be judged on; train another version"
        raise Refused(f"nothing proves the judged model of {info.model} version {info.version}", [reason])
    return judged


def _verify(info: VersionInfo, folder: Path, digests: ModelDigests) -> None:
    """Compare all files, or those that were digested when the version was trained."""
    subject = f"{info.model} version {info.version}"
    compared: list[tuple[str, str | None, str | None]] = []
    try:
        compared.append(("the model file", model_digest(folder, read_predictor(folder)), digests.model_digest))
        if digests.judged_digest is not None:
            compared.append(("the judged model's file", judged_digest(folder), digests.judged_digest))
        if digests.folder_digest is not None:
            compared.append(("the folder", folder_digest(folder), digests.folder_digest))
        else:
            inputs = f"{PREDICTOR_FILE} and {CATEGORIES_FILE}"
            compared.append((inputs, inputs_digest(folder), info.tags.get(INPUTS_DIGEST_TAG)))
    except OSError as error:
        raise Refused(f"the files of {subject} are incomplete; it is not loaded", [str(error)]) from error
    if digests.snapshot is not None:
        compared.append((f"tag {SNAPSHOT_TAG}", info.tags.get(SNAPSHOT_TAG), digests.snapshot))
    faults = [f"{name}: {stored}, trained was {digest}" for name, stored, digest in compared if stored != digest]
    if faults:
        raise Refused(f"{subject} was altered since it was trained; it is not loaded", faults)


def read_model_folder(folder: Path) -> LoadedModel:
    """Load a folder whose digests were checked before."""
    predictor = read_predictor(folder)
    inputs = with_vocabularies(predictor.features, json.loads((folder / CATEGORIES_FILE).read_bytes()))
    native_file = folder / predictor.native
    native: Any
    if predictor.estimator == "xgboost":
        import xgboost as xgb

        native = booster = xgb.Booster()
        booster.load_model(native_file)

        def score(rows: Matrix) -> Answers:
            return np.asarray(booster.inplace_predict(rows), dtype=np.float64)
    else:
        from pipelines.steps.training import skops_file
        from pipelines.steps.training.sklearn_estimator import predict

        native = estimator = skops_file.load(native_file.read_bytes())

        def score(rows: Matrix) -> Answers:
            return predict(estimator, predictor.problem, rows)

    digest = model_digest(folder, predictor)
    return LoadedModel(predictor.problem, predictor.estimator, inputs, native, folder, native_file, digest, score)


def read_predictor(folder: Path) -> PredictorFile:
    """``Refused`` if the file is not of this form, or names a file outside the folder."""
    try:
        predictor = PredictorFile.model_validate_json((folder / PREDICTOR_FILE).read_bytes())
    except ValidationError as error:
        raise Refused(f"{PREDICTOR_FILE} of the model cannot be used", fault_texts(error)) from error
    if Path(predictor.native).name != predictor.native:
        raise Refused(f"{PREDICTOR_FILE} names the model file {predictor.native!r} outside its folder")
    return predictor


def model_digest(folder: Path, predictor: PredictorFile) -> str:
    """sha256 of the native model file."""
    return hashlib.sha256((folder / predictor.native).read_bytes()).hexdigest()


def judged_digest(folder: Path) -> str | None:
    """sha256 of the judged model's native file; None where the folder holds one model."""
    judged = folder / JUDGED_FOLDER
    return model_digest(judged, read_predictor(judged)) if judged.exists() else None


def inputs_digest(folder: Path) -> str:
    """sha256 over ``predictor.json`` and ``categories.json``: what the model's numbers mean."""
    return hashlib.sha256(
        (folder / PREDICTOR_FILE).read_bytes() + b"\n" + (folder / CATEGORIES_FILE).read_bytes()
    ).hexdigest()


def digests_of(folder: Path, snapshot: str) -> ModelDigests:
    """Digests of the files as they are."""
    digest = model_digest(folder, read_predictor(folder))
    return ModelDigests(
        model_digest=digest, judged_digest=judged_digest(folder), folder_digest=folder_digest(folder), snapshot=snapshot
    )


def folder_digest(folder: Path) -> str:
    """sha256 over the sorted names and sha256 digests of all files, but the note that MLflow writes on download."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    paths.pop(MLFLOW_DOWNLOAD_NOTE, None)
    lines = [f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for name, path in sorted(paths.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class PyfuncModel:
    """What ``mlflow.pyfunc.load_model`` and ``mlflow models serve`` call: a pandas frame in, one number per row out."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Answers:  # noqa: ARG002 - MLflow's form
        types = {f.name: pl.String if f.type == "categorical" else pl.Float64 for f in self._model.inputs}
        columns = {
            name: pl.Series(
                name,
                [None if value != value else value for value in model_input[name].tolist()],
                dtype=kind,
                strict=False,
            )
            for name, kind in types.items()
        }
        return self._model.predict(pl.DataFrame(columns))


def _load_pyfunc(path: str) -> PyfuncModel:
    return PyfuncModel(read_model_folder(Path(path)))
