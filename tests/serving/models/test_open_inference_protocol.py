"""The Open Inference Protocol gets the same answers as MLflow's, and its mistakes are all named."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serving.gateway_process import COLUMNS, ROWS, Gateway, expected

KINDS = ["BYTES", "FP64", "FP32"]


def tensors(**changes: Any) -> list[dict[str, Any]]:
    """One tensor per column; ``changes`` go into that of distance."""
    found = [
        {"name": name, "shape": [len(ROWS)], "datatype": kind, "data": [row[place] for row in ROWS]}
        for place, (name, kind) in enumerate(zip(COLUMNS, KINDS, strict=True))
    ]
    found[1] |= changes
    return found


def infer(gateway: Gateway, content: Any, model: str = "flight_delay") -> httpx.Response:
    url = f"{gateway.base}/v2/models/{model}/infer"
    if isinstance(content, bytes):
        return httpx.post(url, content=content, timeout=30)
    return httpx.post(url, json=content, timeout=30)


def test_tensors_get_the_models_own_answers(gateway: Gateway) -> None:
    response = infer(gateway, {"id": "42", "inputs": tensors(), "outputs": [{"name": "predictions"}]})
    assert response.status_code == 200, response.text
    found = response.json()
    (output,) = found.pop("outputs")
    assert found == {"model_name": "flight_delay", "model_version": "1", "id": "42"}
    assert (output["name"], output["datatype"], output["shape"]) == ("predictions", "FP64", [4])
    assert output["data"] == pytest.approx(expected(1), rel=1e-5)


def test_columns_may_come_as_n_by_1_and_in_any_order(gateway: Gateway) -> None:
    upright = [one | {"shape": [4, 1], "data": [[value] for value in one["data"]]} for one in tensors()]
    response = infer(gateway, {"inputs": upright[::-1], "parameters": {"ids": ["a", "b", "c", "d"]}})
    assert response.json()["outputs"][0]["data"] == pytest.approx(expected(1), rel=1e-5)


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"{", 400, ["not JSON"]),
        (b"[" * 100_000, 400, ["not JSON"]),
        ([], 400, ["array 'inputs'"]),
        ({"inputs": {}}, 400, ["array 'inputs'"]),
        ({"inputs": tensors()[:2]}, 400, ["missing column 'hour'"]),
        ({"inputs": [*tensors(), tensors()[0]]}, 400, ["'carrier' is given twice"]),
        ({"inputs": [*tensors(), {"name": "x", "shape": [4], "datatype": "FP64", "data": [1] * 4}]}, 400, ["'x'"]),
        ({"inputs": tensors(datatype="BYTES")}, 400, ["datatype is 'BYTES'; send FP64"]),
        ({"inputs": tensors(shape=[2, 2])}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape="4")}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape=[5])}, 400, ["shape gives 5 values, data has 4"]),
        ({"inputs": tensors(data="AAAA")}, 400, ["data is not an array"]),
        ({"inputs": tensors(data=[1, "far", None, True])}, 400, ["row 1, column 'distance'", "row 3, column"]),
        (
            {"inputs": [1, {}], "outputs": [{"name": "label"}], "id": 7, "x": 1},
            400,
            ["inputs[0]", "outputs", "id", "'x'"],
        ),
        ({"inputs": tensors(), "parameters": {"ids": ["a"]}}, 400, ["ids has 1 entries"]),
        ({"inputs": tensors(shape=[20_000], data=[1] * 20_000)}, 413, ["20000 rows"]),
    ],
)
def test_every_fault_of_the_tensors_is_named(gateway: Gateway, content: Any, status: int, says: list[str]) -> None:
    response = infer(gateway, content)
    faults = "\n".join(response.json()["faults"])
    assert (response.status_code, [phrase for phrase in says if phrase not in faults]) == (status, []), faults


def test_the_pages_of_the_protocol_describe_what_is_live(gateway: Gateway) -> None:
    def page(path: str) -> Any:
        response = httpx.get(f"{gateway.base}{path}")
        assert response.status_code == 200, response.text
        return response.json()

    assert page("/v2")["name"] == "airworthy"
    assert (page("/v2/health/live"), page("/v2/health/ready")) == ({"live": True}, {"ready": True})
    assert page("/v2/models/flight_delay/ready") == {"name": "flight_delay", "ready": True}
    found = page("/v2/models/flight_delay")
    assert found["versions"] == ["1"]
    assert found["inputs"][0] == {"name": "carrier", "datatype": "BYTES", "shape": [-1]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nobody", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/models/flight_delay/infer", 405),
        ("POST", "/v2/health/ready", 405),
        ("GET", "/v2/models/flight_delay/stats", 404),
        ("GET", "/v2x", 404),
        ("GET", "/v2/models/", 404),
    ],
)
def test_what_the_protocol_has_not_is_said_so(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = httpx.request(method, f"{gateway.base}{path}", content=b"{}" if method == "POST" else None)
    assert (response.status_code, bool(response.json()["error"])) == (status, True)
