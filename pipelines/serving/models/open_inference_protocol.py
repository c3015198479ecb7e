"""The Open Inference Protocol (V2) is spoken beside MLflow's: the same rows in, the same answers out.

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
from pipelines.serving.models.rows import InputRows, RowSchema, parsed

OUTPUT = "predictions"
NUMERIC = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
DATATYPES = {"numeric": NUMERIC, "categorical": ("BYTES",)}


def datatype(feature: InputColumn) -> str:
    """The one that the metadata name."""
    return DATATYPES[feature.type][0]


def metadata(model: str, version: str, features: Iterable[InputColumn]) -> dict[str, Any]:
    """Answer to ``GET /v2/models/<model>``; -1 is the number of rows."""
    return {
        "name": model,
        "versions": [version],
        "platform": "airworthy",
        "inputs": [{"name": feature.name, "datatype": datatype(feature), "shape": [-1]} for feature in features],
        "outputs": [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}],
    }


def read(body: bytes, schema: RowSchema) -> InputRows:
    """The rows of a request. Raises ``Problem`` with every fault of form, or else with every fault of the rows."""
    content = parsed(body)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise Problem(400, ["send an object with an array 'inputs' of one tensor per feature"])
    faults = RowFaults()
    faults.extend(
        [name for name in content if name not in ("id", "inputs", "outputs", "parameters")],
        lambda name: f"unknown field {name[:80]!r}",
    )
    label = content.get("id")
    if label is not None and not isinstance(label, str):
        faults.add("id is not a string")
    _check_outputs(content.get("outputs"), faults)
    columns = _columns(content["inputs"], schema, faults)
    if faults.count:
        raise Problem(400, faults.summary())
    parameters = content.get("parameters")
    ids = parameters.get("ids") if isinstance(parameters, dict) else None
    values, count = schema.ordered(columns, faults)
    return schema.check(values, count, ids, faults, shaped=not faults.count, label=label)


def write(model: str, version: str, rows: InputRows, predictions: Sequence[float]) -> bytes:
    """The answer to ``rows``."""
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if rows.label is not None:
        answer["id"] = rows.label
    answer["outputs"] = [{"name": OUTPUT, "datatype": "FP64", "shape": [len(predictions)], "data": predictions}]
    return orjson.dumps(answer)


def _check_outputs(outputs: Any, faults: RowFaults) -> None:
    if outputs is None:
        return
    if not isinstance(outputs, list) or not all(
        isinstance(output, dict) and output.get("name") == OUTPUT for output in outputs
    ):
        faults.add(f"outputs names something else than {OUTPUT!r}, which is all there is")


def _columns(tensors: list[Any], schema: RowSchema, faults: RowFaults) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            faults.add(f"inputs[{place}] is no tensor with a name")
            continue
        name = tensor["name"]
        if name in columns:
            faults.add(f"inputs[{place}]: tensor {name[:80]!r} is given twice")
            continue
        columns[name] = _values(tensor, place, schema, faults)
    return columns


def _values(tensor: dict[str, Any], place: int, schema: RowSchema, faults: RowFaults) -> list[Any]:
    name, kind, shape, data = tensor["name"], tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    where, feature = f"inputs[{place}] {name[:80]!r}", schema.features.get(name)
    if feature is not None and kind not in DATATYPES[feature.type]:
        faults.add(f"{where}: datatype is {str(kind)[:20]!r}; send {' or '.join(DATATYPES[feature.type][:2])}")
    sizes = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    if len(sizes) not in (1, 2) or sizes[1:] not in ([], [1]) or sizes[0] < 0:
        faults.add(f"{where}: shape is no [n] and no [n, 1]")
        return []
    if not isinstance(data, list):
        faults.add(f"{where}: data is no array; binary data are not taken")
        return []
    if len(data) > schema.max_rows:
        raise schema.too_many(len(data))
    if len(data) != sizes[0]:
        faults.add(f"{where}: shape says {sizes[0]} values, data has {len(data)}")
    if len(sizes) == 2 and all(type(row) is list and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data
