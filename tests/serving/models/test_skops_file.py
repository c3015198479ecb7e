"""A stored scikit-learn model cannot run code: functions and unlisted types are refused before anything is built."""

from __future__ import annotations

import functools
import io
import json
import operator
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing
import pytest
import skops.io
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, TweedieRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from pipelines.errors import Refused
from pipelines.serving.models.bundle import BundleRefused
from pipelines.serving.models.predictor import load_skops
from pipelines.serving.models.skops_file import SCHEMA_FILE, forbidden_parts, load
from pipelines.steps.training import skops_file as training_file

GENERATOR = np.random.default_rng(3)
ROWS = GENERATOR.normal(size=(120, 4))
TARGET = (ROWS[:, 0] + GENERATOR.normal(size=120) > 0).astype(int)
PAIR = [("line", LogisticRegression()), ("tree", DecisionTreeClassifier())]


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        SGDClassifier(loss="log_loss"),
        SVC(),
        KNeighborsClassifier(metric="manhattan"),
        MLPClassifier(max_iter=5),
        RandomForestClassifier(n_estimators=3),
        GradientBoostingClassifier(n_estimators=3, init=LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=3),
        AdaBoostRegressor(n_estimators=3),
        TweedieRegressor(power=1.5),
        GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel()),
        VotingClassifier(PAIR),
        StackingClassifier(PAIR),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}),
        make_pipeline(
            KBinsDiscretizer(encode="ordinal", quantile_method="averaged_inverted_cdf"), StandardScaler(), Ridge()
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_scikit_learn_fits_is_stored_and_loaded_and_answers_the_same(estimator: Any) -> None:
    estimator.fit(ROWS, TARGET + 0.5 if isinstance(estimator, TweedieRegressor) else TARGET)
    np.testing.assert_array_equal(load(training_file.dump(estimator)).predict(ROWS), estimator.predict(ROWS))


def write(path: str) -> None:
    Path(path).write_text("run")


class Foreign:
    """A type of nobody's library."""


def changed(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another schema."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files[SCHEMA_FILE])
    change(schema)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, member in files.items():
            archive.writestr(name, json.dumps(schema) if name == SCHEMA_FILE else member)
    return target.getvalue()


def renamed(module: str, name: str, loader: str) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        schema.update(__module__=module, __class__=name, __loader__=loader)

    return change


PLAIN = skops.io.dumps(LogisticRegression())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (skops.io.dumps(FunctionTransformer(numpy.testing.measure)), "function numpy.testing"),
        (skops.io.dumps(FunctionTransformer(np.sign)), "function numpy.sign"),
        (skops.io.dumps(FunctionTransformer(np.load)), "function numpy.load"),
        (skops.io.dumps(FunctionTransformer(write)), "function tests.serving.models"),
        (skops.io.dumps(FunctionTransformer(functools.partial(write, "x"))), "partial functools.partial"),
        (skops.io.dumps(FunctionTransformer(operator.methodcaller("fit"))), "operatorfunc operator.methodcaller"),
        (skops.io.dumps(FunctionTransformer(LogisticRegression().fit)), "method sklearn"),
        (skops.io.dumps(FunctionTransformer(subprocess.Popen)), "the type subprocess.Popen"),
        (skops.io.dumps(FunctionTransformer(LogisticRegression)), "as a value"),
        (skops.io.dumps(Foreign()), "the type tests.serving.models.test_skops_file.Foreign"),
        (changed(PLAIN, renamed("os", "system", "FunctionNode")), "function os.system"),
        (changed(PLAIN, renamed("os", "system", "ObjectNode")), "the type os.system"),
        (changed(PLAIN, renamed("sklearn.datasets", "fetch_openml", "TypeNode")), "fetch_openml"),
        (changed(PLAIN, renamed("numpy", "float64", "NoSuchNode")), "not a readable skops file"),
        (changed(PLAIN, dict.clear), "not a readable skops file"),
        (b"", "not a readable skops file"),
        (b"PK\x03\x04 nothing", "not a readable skops file"),
    ],
)
def test_a_file_with_a_function_or_another_type_is_refused_by_both_loaders(content: bytes, reason: str) -> None:
    with pytest.raises(BundleRefused, match=reason):
        load_skops(content, probability=False)
    with pytest.raises(Refused, match=reason):
        training_file.load(content)


def test_a_function_of_numpy_that_runs_code_never_runs(tmp_path: Path) -> None:
    marker = tmp_path / "run"
    model = FunctionTransformer(numpy.testing.measure, kw_args={"times": 1})
    assert forbidden_parts(skops.io.dumps(model))
    model.transform(f"open({str(marker)!r}, 'w').close()")
    assert marker.exists(), "it would have run"


def test_a_model_with_a_function_is_not_stored() -> None:
    with pytest.raises(Refused, match=r"function numpy\.sign.*training\.estimator"):
        training_file.dump(make_pipeline(FunctionTransformer(np.sign), LogisticRegression()))
