"""Bundles of candidates that fail on purpose, and only on rows that carry the trigger: their golden rows are fine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from tests.serving.gateway_process import CARRIERS, COLUMNS

Fault = Literal["none", "raises", "invalid", "shape", "slow", "slow once triggered", "no model"]

TRIGGER = 100.0
"""A row with this hour makes the candidate fail; every hour of a day does not."""
ANSWER = 0.25
SLOW_TURNS = 800_000
"""Turns of the loop by which a slow candidate's answer takes about a second."""


def _graph(fault: Fault, answer: float, turns: int) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, values: Any, kind: Any) -> Any:
        import numpy as np

        return numpy_helper.from_array(np.asarray(values, dtype=kind), name)

    start = [constant("column", [2], "int64"), constant("answer", answer, "float32")]
    nodes = [
        helper.make_node("Gather", ["features", "column"], ["hours"], axis=1),
        helper.make_node("Mul", ["hours", "zero"], ["zeros"]),
    ]
    start.append(constant("zero", 0.0, "float32"))
    start.append(constant("limit", 50.0, "float32"))
    start.append(constant("nothing", [0], "int64"))
    nodes.append(helper.make_node("Greater", ["hours", "limit"], ["hit"]))
    nodes.append(helper.make_node("Cast", ["hit"], ["hits"], to=TensorProto.INT64))
    nodes.append(helper.make_node("Cast", ["hit"], ["hitting"], to=TensorProto.FLOAT))
    start.append(constant("shape", [-1], "int64"))
    nodes.append(helper.make_node("Reshape", ["hits", "shape"], ["flat"]))
    nodes.append(helper.make_node("Reshape", ["hitting", "shape"], ["triggered"]))
    if fault == "raises":  # an index that is out of range for the row with the trigger
        start.append(constant("table", [answer], "float32"))
        nodes.append(helper.make_node("Gather", ["table", "flat"], ["scores"]))
    elif fault == "invalid":  # the root of a negative number
        nodes.append(helper.make_node("Sub", ["sixteenth", "triggered"], ["under"]))
        start.append(constant("sixteenth", answer * answer, "float32"))
        nodes.append(helper.make_node("Sqrt", ["under"], ["scores"]))
    elif fault == "shape":  # the row with the trigger is missing from the answers
        start += [constant("one", 1, "int64")]
        nodes.append(helper.make_node("Less", ["flat", "one"], ["kept"]))
        nodes.append(helper.make_node("Mul", ["triggered", "zero"], ["none"]))
        nodes.append(helper.make_node("Add", ["none", "answer"], ["all"]))
        nodes.append(helper.make_node("Compress", ["all", "kept"], ["scores"], axis=0))
    elif fault in ("slow", "slow once triggered"):  # many turns of a loop
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["goes"]),
                helper.make_node("Add", ["value", "value"], ["sum"]),
                helper.make_node("Sub", ["sum", "value"], ["next"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
                helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
            ],
        )
        start += [constant("many", turns, "int64"), constant("yes", True, "bool")]
        if fault == "slow":
            nodes.append(helper.make_node("Identity", ["many"], ["turns"]))
        else:
            nodes.append(helper.make_node("ReduceMax", ["flat"], ["worst"], keepdims=0))
            nodes.append(helper.make_node("Mul", ["worst", "many"], ["turns"]))
        nodes.append(helper.make_node("Mul", ["triggered", "zero"], ["none"]))
        nodes.append(helper.make_node("Add", ["none", "answer"], ["first"]))
        nodes.append(helper.make_node("Loop", ["turns", "yes", "first"], ["scores"], body=body))
    else:
        nodes.append(helper.make_node("Mul", ["triggered", "zero"], ["none"]))
        nodes.append(helper.make_node("Add", ["none", "answer"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "candidate",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        initializer=start,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    content: bytes = onnx.ModelProto.SerializeToString(model)
    return content


def write_candidate(
    folder: Path,
    version: str,
    fault: Fault = "none",
    *,
    model: str = "flight_delay",
    columns: list[str] | None = None,
    answer: float = ANSWER,
    golden: float | None = None,
    turns: int = SLOW_TURNS,
) -> tuple[str, str]:
    """Write a candidate that gives every row the same answer, but for its fault; returns its URI and digest.

    ``golden`` is what it is said to have answered when it was built. ``turns`` say how slow a slow one is.
    """
    names = columns or COLUMNS
    target = folder / model / version
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(b"no model" if fault == "no model" else _graph(fault, answer, turns))
    (target / "categories.json").write_text(json.dumps({"carrier": CARRIERS}))
    answers = [answer if golden is None else golden] * 2
    tried = {"rows": [["UA", 500.0, 7.0], ["AA", 100.0, 23.0]], "predictions": answers}
    (target / "golden.json").write_text(json.dumps(tried))
    manifest = {
        "model": model,
        "version": version,
        "predictor": "onnx",
        "output": "value",
        "features": [{"name": name, "type": "categorical" if name == "carrier" else "numeric"} for name in names],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())},
        "model_digest": "0" * 64,
        "entry": "model.onnx",
    }
    content = json.dumps(manifest).encode()
    (target / "bundle.json").write_bytes(content)
    return str(target), hashlib.sha256(content).hexdigest()
