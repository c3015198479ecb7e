"""The Open Inference Protocol (V2): parses tensors into the same rows as MLflow's protocol and formats predictions.

https://github.com/kserve/open-inference-protocol, JSON over HTTP without the binary extension. One tensor per feature,
of shape [n] or [n, 1]; entity ids may be given as ``parameters.ids``. What would not be obeyed is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.faults import MAX_FAULTS, RowFaults
from pipelines.serving.models.rows import FLOAT32_MAX, InputRows, RowSchema, json_type, parse_rows, quote_shortened

OUTPUT_NAME = "predictions"
NUMERIC_DATATYPES = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
DATATYPES = {"numeric": NUMERIC_DATATYPES, "categorical": ("BYTES",)}
NARROW_DATATYPES = {
    "FP16": (-65504, 65504),
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
"""Least and largest number of each datatype that has fewer numbers than the model's input takes."""
REQUEST_FIELDS = {"id", "inputs", "outputs", "parameters"}
REQUIRED_TENSOR_FIELDS = {"name", "shape", "datatype", "data"}
TENSOR_FIELDS = REQUIRED_TENSOR_FIELDS | {"parameters"}
REQUEST_PARAMETERS = {"ids"}
BINARY_PARAMETERS = {"binary_data", "binary_data_output"}
"""Parameters of the binary tensor extension, which is not served; false asks for JSON."""


def datatype(feature: InputColumn) -> str:
    """Tensor datatype in the metadata."""
    return DATATYPES[feature.type][0]


def metadata(model: str, versions: Sequence[str], features: Iterable[InputColumn]) -> dict[str, Any]:
    """Answer to ``GET /v2/models/<model>``; -1 is the number of rows. ``versions``: those that a path may name."""
    return {
        "name": model,
        "versions": versions,
        "platform": "airworthy",
        "inputs": [{"name": feature.name, "datatype": datatype(feature), "shape": [-1]} for feature in features],
        "outputs": [{"name": OUTPUT_NAME, "datatype": "FP64", "shape": [-1]}],
    }


def read(body: bytes, schema: RowSchema) -> InputRows:
    """The rows of a request. Raises ``Problem`` with the faults of the tensors, or else with the faults of the rows."""
    content = parse_rows(body, schema)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise Problem(400, ["send an object with an array 'inputs' of one tensor per feature"])
    faults = RowFaults()
    _check_fields("", content, REQUEST_FIELDS, faults)
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        faults.add("id is not a string")
    parameters = content.get("parameters")
    if parameters is not None:
        _check_parameters("", parameters, REQUEST_PARAMETERS, faults)
    if content.get("outputs") is not None:
        _check_outputs(content["outputs"], faults)
    columns = _read_columns(content["inputs"], schema, faults)
    if faults.count:
        raise Problem(400, faults.summary())
    ids = parameters.get("ids") if parameters else None
    values, count = schema.order_columns(columns, faults)
    return schema.check(values, count, ids, faults, is_shaped=not faults.count, request_id=request_id)


def write(model: str, version: str, rows: InputRows, predictions: Sequence[float]) -> bytes:
    """The response body."""
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if rows.request_id is not None:
        answer["id"] = rows.request_id
    answer["outputs"] = [{"name": OUTPUT_NAME, "datatype": "FP64", "shape": [len(predictions)], "data": predictions}]
    return orjson.dumps(answer)


def _check_fields(location: str, content: dict[str, Any], known: set[str], faults: RowFaults) -> None:
    if not content.keys() <= known:
        unknown = [name for name in content if name not in known]
        faults.extend(unknown, lambda name: f"{location}unknown field {quote_shortened(name)}")


def _check_parameters(location: str, parameters: Any, served: set[str], faults: RowFaults) -> None:
    """Add a fault for every parameter that would not be obeyed. One that asks for JSON is."""
    if not isinstance(parameters, dict):
        faults.add(f"{location}parameters is a JSON {json_type(parameters)}, not an object")
        return
    unserved = [
        name
        for name, value in parameters.items()
        if name not in served and not (name in BINARY_PARAMETERS and value is False)
    ]
    names = ", ".join(sorted(served)) or "none"
    faults.extend(
        unserved,
        lambda name: f"{location}parameter {quote_shortened(name)} is not served; leave it out (served: {names})",
    )


def _check_outputs(outputs: Any, faults: RowFaults) -> None:
    tensors = outputs if isinstance(outputs, list) else [None]
    if not all(isinstance(tensor, dict) and tensor.get("name") == OUTPUT_NAME for tensor in tensors):
        faults.add(f"outputs may name {OUTPUT_NAME!r} only")
        return
    if len(tensors) > 1:
        faults.add(f"outputs names {OUTPUT_NAME!r} {len(tensors)} times")
    for index, tensor in enumerate(tensors):
        _check_fields(f"outputs[{index}]: ", tensor, {"name", "parameters"}, faults)
        if tensor.get("parameters") is not None:
            _check_parameters(f"outputs[{index}]: ", tensor["parameters"], set(), faults)


def _read_columns(tensors: list[Any], schema: RowSchema, faults: RowFaults) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    most = MAX_FAULTS + 2 * len(schema.names)
    if len(tensors) > most:
        faults.add(f"inputs has {len(tensors)} tensors; the model has {len(schema.names)} columns, one tensor each")
        return columns
    for index, tensor in enumerate(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            faults.add(f"inputs[{index}] is not a tensor with a name")
            continue
        name = tensor["name"]
        if name in columns:
            faults.add(f"inputs[{index}]: tensor {quote_shortened(name)} is given twice")
            continue
        columns[name] = _tensor_values(tensor, index, schema, faults)
    return columns


def _tensor_values(tensor: dict[str, Any], index: int, schema: RowSchema, faults: RowFaults) -> list[Any]:
    name, tensor_type, shape, data = tensor["name"], tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    location, feature = f"inputs[{index}] {name[:80]!r}", schema.features.get(name)
    if len(tensor) != len(REQUIRED_TENSOR_FIELDS) or tensor_type is None or shape is None or data is None:
        _check_fields(f"{location}: ", tensor, TENSOR_FIELDS, faults)
        if tensor.get("parameters") is not None:
            _check_parameters(f"{location}: ", tensor["parameters"], set(), faults)
    if feature is not None and tensor_type not in DATATYPES[feature.type]:
        expected = " or ".join(DATATYPES[feature.type][:2])
        faults.add(f"{location}: datatype is {str(tensor_type)[:20]!r}; send {expected}")
    dimensions = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    if len(dimensions) not in (1, 2) or dimensions[1:] not in ([], [1]) or dimensions[0] < 0:
        faults.add(f"{location}: shape is neither [n] nor [n, 1]")
        return []
    if not isinstance(data, list):
        faults.add(f"{location}: data is not an array; binary data are not served")
        return []
    if len(data) > schema.max_rows:
        raise schema.too_many_rows_problem(len(data))
    if len(data) != dimensions[0]:
        faults.add(f"{location}: shape gives {dimensions[0]} values, data has {len(data)}")
    if len(dimensions) == 2 and all(type(row) is list and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    if tensor_type in NARROW_DATATYPES:
        _check_numbers(location, tensor_type, data, faults)
    return data


def _check_numbers(location: str, tensor_type: str, data: list[Any], faults: RowFaults) -> None:
    """Add a fault for every number that the datatype does not have.

    What is no number, or a number beyond the model's 32-bit floats, is a fault of its row by either protocol.
    """
    low, high = NARROW_DATATYPES[tensor_type]
    is_whole = tensor_type != "FP16"
    wrong = [
        row
        for row, value in enumerate(data)
        if type(value) in (int, float)
        and abs(value) <= FLOAT32_MAX
        and not (low <= value <= high and (not is_whole or value == int(value)))
    ]
    faults.extend(wrong, lambda row: f"{location}: value {row} is {str(data[row])[:40]}, which is no {tensor_type}")
