"""The Open Inference Protocol (V2) is spoken beside MLflow's: the same rows in, the same answers out.

https://github.com/kserve/open-inference-protocol, JSON over HTTP without the binary extension. One tensor per feature,
of shape [n] or [n, 1]; entity ids may be given as ``parameters.ids``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from pipelines.serving.models.bundle import Input
from pipelines.serving.models.faults import Faults
from pipelines.serving.models.mlflow_protocol import BadRequest

OUTPUT = "predictions"
NUMERIC = ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
DATATYPES = {"numeric": NUMERIC, "categorical": ("BYTES",)}


def datatype(feature: Input) -> str:
    """The one that the metadata name."""
    return DATATYPES[feature.type][0]


def metadata(model: str, version: str, features: Sequence[Input]) -> dict[str, Any]:
    """Answer to ``GET /v2/models/<model>``; -1 is the number of rows."""
    return {
        "name": model,
        "versions": [version],
        "platform": "airworthy",
        "inputs": [{"name": one.name, "datatype": datatype(one), "shape": [-1]} for one in features],
        "outputs": [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}],
    }


def request(body: bytes, features: Sequence[Input], max_rows: int) -> tuple[bytes, Any]:
    """The body in MLflow's protocol, and the caller's ``id``. Raises ``BadRequest`` with every fault of form."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest([f"the body is not JSON: {error}; a missing value is null"]) from None
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise BadRequest(["send an object with an array 'inputs' of one tensor per feature"])
    faults = Faults()
    faults.extend(
        [name for name in content if name not in ("id", "inputs", "outputs", "parameters")],
        lambda name: f"unknown field {name[:80]!r}",
    )
    number = content.get("id")
    if number is not None and not isinstance(number, str):
        faults.add("id is not a string")
    _check_outputs(content.get("outputs"), faults)
    columns = _columns(content["inputs"], {one.name: one for one in features}, max_rows, faults)
    if faults.count:
        raise BadRequest(faults.said())
    translated: dict[str, Any] = {"inputs": columns}
    parameters = content.get("parameters")
    if isinstance(parameters, dict) and parameters.get("ids") is not None:
        translated["ids"] = parameters["ids"]
    return msgspec.json.encode(translated), number


def _check_outputs(outputs: Any, faults: Faults) -> None:
    if outputs is None:
        return
    if not isinstance(outputs, list) or not all(isinstance(one, dict) and one.get("name") == OUTPUT for one in outputs):
        faults.add(f"outputs names something else than {OUTPUT!r}, which is all there is")


def _columns(tensors: list[Any], known: dict[str, Input], max_rows: int, faults: Faults) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for place, tensor in enumerate(tensors):
        where = f"inputs[{place}]"
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            faults.add(f"{where} is no tensor with a name")
            continue
        name = tensor["name"]
        if name in columns:
            faults.add(f"{where}: tensor {name[:80]!r} is given twice")
            continue
        columns[name] = _values(tensor, f"{where} {name[:80]!r}", known.get(name), max_rows, faults)
    return columns


def _values(tensor: dict[str, Any], where: str, feature: Input | None, max_rows: int, faults: Faults) -> list[Any]:
    kind, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    if feature is not None and kind not in DATATYPES[feature.type]:
        faults.add(f"{where}: datatype is {str(kind)[:20]!r}; send {' or '.join(DATATYPES[feature.type][:2])}")
    sizes = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    if len(sizes) not in (1, 2) or sizes[1:] not in ([], [1]) or sizes[0] < 0:
        faults.add(f"{where}: shape is no [n] and no [n, 1]")
        return []
    if not isinstance(data, list):
        faults.add(f"{where}: data is no array; binary data are not taken")
        return []
    if len(data) > max_rows:
        raise BadRequest([f"{len(data)} rows; at most {max_rows} per request"], 413)
    if len(data) != sizes[0]:
        faults.add(f"{where}: shape says {sizes[0]} values, data has {len(data)}")
    if len(sizes) == 2 and all(type(row) is list and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data


def response(model: str, version: str, number: Any, content: bytes) -> bytes:
    """MLflow's answer as V2's."""
    predictions = orjson.loads(content)["predictions"]
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if number is not None:
        answer["id"] = number
    output = {"name": OUTPUT, "datatype": "FP64", "shape": [len(predictions)], "data": predictions}
    return orjson.dumps(answer | {"outputs": [output]})
