"""Writes a model folder: the native models, their vocabularies and MLflow's description, without code or pickle."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from pipelines.steps.models.registered_model import (
    CATEGORIES_FILE,
    JUDGED_FOLDER,
    PREDICTOR_FILE,
    EstimatorKind,
    PredictorFile,
    Problem,
)
from pipelines.steps.training.fitting import NATIVE_MODEL_FILES
from pipelines.tables.encoding import FeatureInput, categories_json

PYFUNC_LOADER_MODULE = "pipelines.steps.models.registered_model"
EXAMPLE_ROWS = 5
REQUIRED_PACKAGES = {
    "xgboost": ["xgboost", "numpy", "pandas", "polars", "pydantic"],
    "sklearn": ["scikit-learn", "skops", "numpy", "pandas", "polars", "pydantic"],
}


def write_model_folder(
    folder: Path,
    *,
    model: str,
    problem: Problem,
    estimator: EstimatorKind,
    native: bytes,
    features: list[FeatureInput],
    judged: tuple[bytes, list[FeatureInput]] | None = None,
    example: pl.DataFrame,
    run_id: str,
    model_id: str,
) -> None:
    """Write the folder. ``example``: a few rows of the snapshot; their features become MLflow's input example.

    ``judged``: native bytes and inputs of the model that is judged, if ``native`` was trained again on all rows.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.types.schema import ColSpec, DataType, Schema
    from mlflow.utils.environment import _PythonEnv

    _write_native(folder, model, problem, estimator, native, features)
    if judged is not None:
        (folder / JUDGED_FOLDER).mkdir()
        _write_native(folder / JUDGED_FOLDER, model, problem, estimator, *judged)
    kinds = {"categorical": DataType.string, "numeric": DataType.double}
    inputs = Schema([ColSpec(kinds[feature.type], feature.name, required=False) for feature in features])
    answers = Schema([ColSpec(DataType.double)])
    description = Model(
        artifact_path=model, run_id=run_id, model_id=model_id, signature=ModelSignature(inputs, answers)
    )
    _save_example(description, _example(example, features), str(folder))
    pyfunc.add_to_model(description, loader_module=PYFUNC_LOADER_MODULE, python_env="python_env.yaml", code=None)
    _add_flavour(description, estimator)
    description.save(str(folder / "MLmodel"))
    requirements = [f"{name}=={version(name)}" for name in ["mlflow", "airworthy", *REQUIRED_PACKAGES[estimator]]]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    _PythonEnv.current().to_yaml(str(folder / "python_env.yaml"))  # type: ignore[no-untyped-call]


def _write_native(
    folder: Path, model: str, problem: Problem, estimator: EstimatorKind, native: bytes, features: list[FeatureInput]
) -> None:
    (folder / NATIVE_MODEL_FILES[estimator]).write_bytes(native)
    (folder / CATEGORIES_FILE).write_bytes(categories_json(features))
    predictor = PredictorFile(
        model=model,
        problem=problem,
        estimator=estimator,
        native=NATIVE_MODEL_FILES[estimator],
        features={feature.name: feature.type for feature in features},
    )
    (folder / PREDICTOR_FILE).write_text(predictor.model_dump_json(indent=1), encoding="utf-8")


def _add_flavour(description: Any, estimator: str) -> None:
    """The library's own flavour beside pyfunc: ``mlflow.xgboost.load_model`` gives the plain booster."""
    if estimator == "xgboost":
        import xgboost

        description.add_flavor(
            "xgboost",
            xgb_version=xgboost.__version__,
            data=NATIVE_MODEL_FILES[estimator],
            model_class="xgboost.core.Booster",
            model_format="ubj",
            code=None,
        )


def _example(rows: pl.DataFrame, features: list[FeatureInput]) -> pd.DataFrame:
    columns = [
        pl.col(feature.name).cast(pl.String if feature.type == "categorical" else pl.Float64) for feature in features
    ]
    return rows.head(EXAMPLE_ROWS).select(columns).to_pandas()
