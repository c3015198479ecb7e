"""Loads a registered model natively, after verifying that its files have the registered digests.

A model folder holds the native model (``model.ubj`` or ``model.skops``), ``categories.json`` (the vocabularies) and
``predictor.json`` (what it answers and from which columns); no file of it is code, and none is a pickle. MLflow's
``pyfunc`` flavour reads the same folder through ``_load_pyfunc`` below, which checks no digest.
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
from pipelines.mlflow_client import fetch_model, open_client
from pipelines.ports import Ports, VersionInfo
from pipelines.tables.encoding import FeatureInput, Kind, Matrix, encode, with_vocabularies

PREDICTOR_FILE = "predictor.json"
CATEGORIES_FILE = "categories.json"
MODEL_DIGEST_TAG = "airworthy.model_digest"
INPUTS_DIGEST_TAG = "airworthy.inputs_digest"
Problem = Literal["classification", "regression"]
EstimatorKind = Literal["xgboost", "sklearn"]
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


def load_model(info: VersionInfo, ports: Ports) -> LoadedModel:
    """Fetch, verify, load. ``Refused`` for files with other digests, ``Unavailable`` without MLflow.

    The files lie in a temporary folder that is deleted with the model.
    """
    holder = tempfile.mkdtemp(prefix="airworthy-model-")
    try:
        folder = fetch_model(open_client(ports.settings.tracking), info.source, Path(holder))
        _verify(info, folder)
        model = read_model_folder(folder)
    except BaseException:
        shutil.rmtree(holder, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, holder, ignore_errors=True)
    return model


def _verify(info: VersionInfo, folder: Path) -> None:
    subject = f"{info.model} version {info.version}"
    registered = {tag: info.tags.get(tag) for tag in (MODEL_DIGEST_TAG, INPUTS_DIGEST_TAG)}
    missing = [f"tag {tag} is missing" for tag, value in registered.items() if value is None]
    if missing:
        raise Refused(f"{subject} was not registered by training; it is not loaded", missing)
    try:
        digests = {
            MODEL_DIGEST_TAG: model_digest(folder, read_predictor(folder)),
            INPUTS_DIGEST_TAG: inputs_digest(folder),
        }
    except OSError as error:
        raise Refused(f"the files of {subject} are incomplete; it is not loaded", [str(error)]) from error
    faults = [
        f"{tag} is {digests[tag]}, registered as {value}" for tag, value in registered.items() if digests[tag] != value
    ]
    if faults:
        raise Refused(f"{subject} was altered since it was registered; it is not loaded", faults)


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
        raise Refused(f"{PREDICTOR_FILE} of the model cannot be used", [str(error)]) from error
    if Path(predictor.native).name != predictor.native:
        raise Refused(f"{PREDICTOR_FILE} names the model file {predictor.native!r} outside its folder")
    return predictor


def model_digest(folder: Path, predictor: PredictorFile) -> str:
    """sha256 of the native model file."""
    return hashlib.sha256((folder / predictor.native).read_bytes()).hexdigest()


def inputs_digest(folder: Path) -> str:
    """sha256 over ``predictor.json`` and ``categories.json``: what the model's numbers mean."""
    return hashlib.sha256(
        (folder / PREDICTOR_FILE).read_bytes() + b"\n" + (folder / CATEGORIES_FILE).read_bytes()
    ).hexdigest()


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
