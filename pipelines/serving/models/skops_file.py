"""Opens a scikit-learn model stored by skops: only listed types, no functions, methods or constructors.

skops itself trusts every estimator of scikit-learn; the types that fitted estimators hold beyond these are listed here
by their exact names. A function is never allowed, for an estimator that holds one calls it on each prediction.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

SCHEMA_FILE = "schema.json"
ALLOWED_NODES = frozenset(
    {
        "BytearrayNode",
        "BytesNode",
        "CachedNode",
        "DTypeNode",
        "DefaultDictNode",
        "DictNode",
        "JsonNode",
        "ListNode",
        "LossNode",
        "MaskedArrayNode",
        "NdArrayNode",
        "ObjectNode",
        "RandomGeneratorNode",
        "RandomStateNode",
        "SetNode",
        "SliceNode",
        "SparseMatrixNode",
        "TreeNode",
        "TupleNode",
        "TypeNode",
    }
)
"""skops' kinds of values; left out are functions, partials, methods, operators and results of a constructor."""
ALLOWED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.PairwiseKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)
"""What fitted estimators hold besides the types that skops trusts."""
_SCALARS = frozenset({"bool", "bytes", "complex", "float", "int", "str"})
_NUMPY_SCALARS = frozenset(
    {"bool", "bool_", "datetime64", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "intp"}
    | {"object_", "str_", "timedelta64", "uint8", "uint16", "uint32", "uint64", "uintp"}
)


def forbidden_parts(content: bytes) -> list[str]:
    """Types and functions of the file that are not allowed, in words; empty if it may be loaded.

    Nothing of the file is constructed or imported. Raises ``ValueError`` for content that is not a skops file.
    """
    import skops.io  # slow to import (it searches every loaded module), and boosting never needs it

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            schema = json.loads(archive.read(SCHEMA_FILE))
        untrusted = set(skops.io.get_untrusted_types(data=content))
        nodes = list(_nodes(schema))
        faults = {f"the type {name}" for name in untrusted - ALLOWED_TYPES}
        for node in nodes:
            name = f"{node['__module__']}.{node['__class__']}"
            if node["__loader__"] not in ALLOWED_NODES:
                faults.add(f"{node['__loader__'].removesuffix('Node').lower()} {name}")
            elif node["__loader__"] == "TypeNode" and not _is_value_type(node):
                faults.add(f"the type {name} as a value")
    except Exception as error:  # skops raises whatever a broken zip or schema makes it raise
        raise ValueError(f"not a readable skops file: {type(error).__name__}: {error}") from error
    return sorted(faults)


def load(content: bytes) -> Any:
    """The estimator. Raises ``ValueError`` unless ``forbidden_parts`` is empty."""
    import skops.io

    if faults := forbidden_parts(content):
        raise ValueError("not allowed in a model: " + ", ".join(faults))
    return skops.io.loads(content, trusted=sorted(ALLOWED_TYPES))


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "__loader__" in node:
            yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)


def _is_value_type(node: dict[str, Any]) -> bool:
    allowed = {"builtins": _SCALARS, "numpy": _NUMPY_SCALARS}
    return node["__class__"] in allowed.get(node["__module__"], ())
