"""The Open Inference Protocol (V2): parses tensors into the same rows as MLflow's protocol and formats predictions.

https://github.com/kserve/open-inference-protocol, JSON over HTTP without the binary extension. One tensor per feature,
of shape [n] or [n, 1]; entity ids may be given as ``parameters.ids``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.faults import RowFaults
from pipelines.serving.models.rows import InputRows, RowSchema, parse_json

OUTPUT_NAME = "predictions"
NUMERIC_DATATYPES = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
DATATYPES = {"numeric": NUMERIC_DATATYPES, "categorical": ("BYTES",)}


def datatype(feature: InputColumn) -> str:
    """Tensor datatype in the metadata."""
    return DATATYPES[feature.type][0]


def metadata(model: str, version: str, features: Iterable[InputColumn]) -> dict[str, Any]:
    """Answer to ``GET /v2/models/<model>``; -1 is the number of rows."""
    return {
        "name": model,
        "versions": [version],
        "platform": "airworthy",
        "inputs": [{"name": feature.name, "datatype": datatype(feature), "shape": [-1]} for feature in features],
        "outputs": [{"name": OUTPUT_NAME, "datatype": "FP64", "shape": [-1]}],
    }


def read(body: bytes, schema: RowSchema) -> InputRows:
    """The rows of a request. Raises ``Problem`` with the faults of the tensors, or else with the faults of the rows."""
    content = parse_json(body)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise Problem(400, ["send an object with an array 'inputs' of one tensor per feature"])
    faults = RowFaults()
    faults.extend(
        [name for name in content if name not in ("id", "inputs", "outputs", "parameters")],
        lambda name: f"unknown field {name[:80]!r}",
    )
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        faults.add("id is not a string")
    _check_outputs(content.get("outputs"), faults)
    columns = _read_columns(content["inputs"], schema, faults)
    if faults.count:
        raise Problem(400, faults.summary())
    parameters = content.get("parameters")
    ids = parameters.get("ids") if isinstance(parameters, dict) else None
    values, count = schema.order_columns(columns, faults)
    return schema.check(values, count, ids, faults, is_shaped=not faults.count, request_id=request_id)


def write(model: str, version: str, rows: InputRows, predictions: Sequence[float]) -> bytes:
    """The response body."""
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if rows.request_id is not None:
        answer["id"] = rows.request_id
    answer["outputs"] = [{"name": OUTPUT_NAME, "datatype": "FP64", "shape": [len(predictions)], "data": predictions}]
    return orjson.dumps(answer)


def _check_outputs(outputs: Any, faults: RowFaults) -> None:
    if outputs is None:
        return
    tensors = outputs if isinstance(outputs, list) else [None]
    if not all(isinstance(tensor, dict) and tensor.get("name") == OUTPUT_NAME for tensor in tensors):
        faults.add(f"outputs may name {OUTPUT_NAME!r} only")


def _read_columns(tensors: list[Any], schema: RowSchema, faults: RowFaults) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for index, tensor in enumerate(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            faults.add(f"inputs[{index}] is not a tensor with a name")
            continue
        name = tensor["name"]
        if name in columns:
            faults.add(f"inputs[{index}]: tensor {name[:80]!r} is given twice")
            continue
        columns[name] = _tensor_values(tensor, index, schema, faults)
    return columns


def _tensor_values(tensor: dict[str, Any], index: int, schema: RowSchema, faults: RowFaults) -> list[Any]:
    name, tensor_type, shape, data = tensor["name"], tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    location, feature = f"inputs[{index}] {name[:80]!r}", schema.features.get(name)
    if feature is not None and tensor_type not in DATATYPES[feature.type]:
        expected = " or ".join(DATATYPES[feature.type][:2])
        faults.add(f"{location}: datatype is {str(tensor_type)[:20]!r}; send {expected}")
    dimensions = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    if len(dimensions) not in (1, 2) or dimensions[1:] not in ([], [1]) or dimensions[0] < 0:
        faults.add(f"{location}: shape is neither [n] nor [n, 1]")
        return []
    if not isinstance(data, list):
        faults.add(f"{location}: data is not an array; binary data are not supported")
        return []
    if len(data) > schema.max_rows:
        raise schema.too_many_rows_problem(len(data))
    if len(data) != dimensions[0]:
        faults.add(f"{location}: shape gives {dimensions[0]} values, data has {len(data)}")
    if len(dimensions) == 2 and all(type(row) is list and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data
