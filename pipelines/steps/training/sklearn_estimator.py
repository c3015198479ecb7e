"""Any sklearn estimator named in the declaration is fitted on the encoded matrix, seeded, and answers one number a row.

One that takes missing values gets the matrix as it is; any other gets categories one-hot and numbers filled with
their median and scaled.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from pipelines.errors import Refused
from pipelines.spec.model import Estimator
from pipelines.tables.encoding import FeatureInput, Matrix

Target = npt.NDArray[np.float64]
MIN_CATEGORY_ROWS = 20
"""A category with fewer training rows than this shares one column with the other rare ones."""


def build(declared: Estimator, problem: str, seed: int, features: list[FeatureInput]) -> BaseEstimator:
    """The unfitted estimator. ``Refused`` for a class that does not exist or does not fit the problem."""
    path = str(declared.class_path)
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Refused(f"training.estimator.class_path {path!r} does not exist; correct the spelling") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
        raise Refused(f"training.estimator.class_path {path!r} is not an estimator")
    try:
        estimator = kind(**declared.parameters)
    except TypeError as error:
        raise Refused(f"training.estimator.parameters do not fit {path}", [str(error)]) from error
    fits = is_classifier(estimator) if problem == "classification" else is_regressor(estimator)
    if not fits or (problem == "classification" and not hasattr(estimator, "predict_proba")):
        expected = "a classifier with probabilities" if problem == "classification" else "a regressor"
        raise Refused(f"training.estimator.class_path {path!r} is not {expected}; a {problem} needs one")
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    return estimator if get_tags(estimator).input_tags.allow_nan else _with_imputation(estimator, features)


def fit(estimator: BaseEstimator, problem: str, rows: Matrix, target: Target) -> BaseEstimator:
    """``Refused`` with sklearn's own words for parameters it does not accept."""
    from sklearn.utils._param_validation import InvalidParameterError

    try:
        return estimator.fit(rows, target.astype(np.int64) if problem == "classification" else target)
    except InvalidParameterError as error:
        raise Refused("training.estimator.parameters cannot be used", [str(error)]) from error


def predict(estimator: Any, problem: str, rows: Matrix) -> npt.NDArray[np.float64]:
    """Probability of 1, or the value."""
    answers = estimator.predict_proba(rows)[:, 1] if problem == "classification" else estimator.predict(rows)
    return np.asarray(answers, dtype=np.float64).reshape(-1)


def _with_imputation(estimator: BaseEstimator, features: list[FeatureInput]) -> Pipeline:
    categorical = [place for place, feature in enumerate(features) if feature.type == "categorical"]
    numeric = [place for place, feature in enumerate(features) if feature.type == "numeric"]
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=-1),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=MIN_CATEGORY_ROWS, sparse_output=False),
    )
    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    return make_pipeline(
        ColumnTransformer([("categories", categories, categorical), ("numbers", numbers, numeric)]), estimator
    )
