"""The Open Inference Protocol gets the same answers as MLflow's, and its mistakes are all named."""

from __future__ import annotations

import importlib.metadata
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
        ({"inputs": tensors(parameters={"content_type": "np"})}, 400, ["'distance': parameter 'content_type' is not"]),
        ({"inputs": tensors(parameters={"binary_data_size": 4})}, 400, ["parameter 'binary_data_size' is not served"]),
        ({"inputs": tensors(parameters=[])}, 400, ["'distance': parameters is a JSON array, not an object"]),
        ({"inputs": tensors(strides=[1])}, 400, ["'distance': unknown field 'strides'"]),
        ({"inputs": tensors(datatype=None)}, 400, ["datatype is 'None'; send FP64"]),
        ({"inputs": tensors(datatype="fp64")}, 400, ["datatype is 'fp64'"]),
        ({"inputs": tensors(datatype="BOOL", data=[True] * 4)}, 400, ["datatype is 'BOOL'"]),
        ({"inputs": tensors(shape=[4, 1, 1])}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape=[])}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape=[-1])}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape=[True])}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape=[4.0])}, 400, ["shape is neither [n]"]),
        ({"inputs": tensors(shape=[4], data=[[1], [2], [3], [4]])}, 400, ["is an array, not a number"]),
        ({"inputs": tensors(shape=[4, 1], data=[[1], [2], [3], [4, 5]])}, 400, ["is an array, not a number"]),
        ({"inputs": tensors(), "parameters": {"priority": 1}}, 400, ["parameter 'priority' is not served", "ids"]),
        (
            {"inputs": tensors(), "parameters": {"binary_data_output": True}},
            400,
            ["'binary_data_output' is not served"],
        ),
        ({"inputs": tensors(), "parameters": "ids"}, 400, ["parameters is a JSON string"]),
        ({"inputs": tensors(), "outputs": {"name": "predictions"}}, 400, ["outputs may name 'predictions' only"]),
        ({"inputs": tensors(), "outputs": [{"name": "predictions"}] * 2}, 400, ["names 'predictions' 2 times"]),
        (
            {"inputs": tensors(), "outputs": [{"name": "predictions", "parameters": {"classification": 3}}]},
            400,
            ["outputs[0]: parameter 'classification' is not served"],
        ),
        ({"inputs": tensors(), "outputs": [{"name": "predictions", "shape": [4]}]}, 400, ["unknown field 'shape'"]),
    ],
)
def test_every_fault_of_the_tensors_is_named(gateway: Gateway, content: Any, status: int, says: list[str]) -> None:
    response = infer(gateway, content)
    faults = "\n".join(response.json()["faults"])
    assert (response.status_code, [phrase for phrase in says if phrase not in faults]) == (status, []), faults


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT64", 1.5),
        ("INT64", 2**63),
        ("INT64", -(2**63) - 1),
        ("INT32", 2**31),
        ("INT16", -32769),
        ("INT8", 128),
        ("UINT8", -300),
        ("UINT8", 256),
        ("UINT16", 65536),
        ("UINT32", -1),
        ("UINT64", 2**64),
        ("UINT64", 0.5),
        ("FP16", 65505),
        ("FP32", 1e39),
        ("FP64", 1e39),
    ],
)
def test_a_number_that_its_datatype_does_not_have_is_refused(gateway: Gateway, kind: str, value: float) -> None:
    response = infer(gateway, {"inputs": tensors(datatype=kind, data=[1, value, None, 2])})
    assert response.status_code == 400
    (fault,) = response.json()["faults"]
    assert "'distance'" in fault
    assert ("value 1" in fault and fault.endswith(f"is no {kind}")) or "row 1" in fault


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT64", -(2**63)),
        ("INT64", 3.0),
        ("INT32", 2**31 - 1),
        ("INT16", -32768),
        ("INT8", 127),
        ("UINT8", 255),
        ("UINT64", 2**64 - 1),
        ("FP16", 65504),
        ("FP32", 1.5),
        ("FP64", 7),
    ],
)
def test_every_number_that_its_datatype_has_is_scored(gateway: Gateway, kind: str, value: float) -> None:
    response = infer(gateway, {"inputs": tensors(datatype=kind, data=[1, value, None, 2])})
    assert response.status_code == 200, response.text
    rows = [[row[0], number, row[2]] for row, number in zip(ROWS, [1, value, None, 2], strict=True)]
    assert response.json()["outputs"][0]["data"] == pytest.approx(expected(1, rows), rel=1e-5)


def test_parameters_that_ask_for_what_is_done_anyway_are_taken(gateway: Gateway) -> None:
    asked = {
        "id": "",
        "inputs": tensors(parameters={}),
        "outputs": [{"name": "predictions", "parameters": {"binary_data": False}}],
        "parameters": {"binary_data_output": False},
    }
    response = infer(gateway, asked)
    assert (response.status_code, response.json()["id"]) == (200, "")


def test_a_path_may_name_the_live_version(gateway: Gateway) -> None:
    url = f"{gateway.base}/v2/models/flight_delay/versions"
    response = httpx.post(f"{url}/1/infer", json={"inputs": tensors()})
    assert (response.status_code, response.json()["model_version"]) == (200, "1")
    assert response.json()["outputs"][0]["data"] == pytest.approx(expected(1), rel=1e-5)
    assert httpx.get(f"{url}/1").json() == httpx.get(f"{gateway.base}/v2/models/flight_delay").json()
    assert httpx.get(f"{url}/1/ready").json() == {"name": "flight_delay", "ready": True}
    assert httpx.post(f"{url}/9/infer", json={"inputs": tensors()}).status_code == 404


PAGES = [
    "/v2",
    "/v2/",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/flight_delay",
    "/v2/models/flight_delay/ready",
    "/v2/models/flight_delay/versions/1",
    "/v2/models/flight_delay/versions/1/ready",
    "/",
    "/docs",
    "/health",
    "/ready",
    "/ping",
    "/version",
    "/metrics",
    "/openapi.json",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_a_head_and_no_other_method(gateway: Gateway, path: str) -> None:
    head = httpx.head(f"{gateway.base}{path}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == httpx.get(f"{gateway.base}{path}").headers["content-type"]
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        refused = httpx.request(method, f"{gateway.base}{path}")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD"), method


@pytest.mark.parametrize("path", ["/invocations", "/models/flight_delay/invocations", "/v2/models/flight_delay/infer"])
def test_predictions_have_the_method_post_alone(gateway: Gateway, path: str) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        refused = httpx.request(method, f"{gateway.base}{path}")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST"), method


def test_every_refusal_of_a_page_is_counted(gateway: Gateway) -> None:
    def counted() -> dict[str, int]:
        lines = httpx.get(f"{gateway.base}/metrics").text.splitlines()
        totals = dict(line.rsplit(" ", 1) for line in lines if line.startswith("airworthy_requests_total"))
        return {
            code: int(totals.get(f'airworthy_requests_total{{model="",version="",code="{code}"}}', 0))
            for code in ("404", "405")
        }

    before = counted()
    for path in ("/nothing", "/v2/nothing"):
        assert httpx.get(f"{gateway.base}{path}").status_code == 404
    for path in ("/health", "/v2/health/live"):
        assert httpx.post(f"{gateway.base}{path}").status_code == 405
    assert counted() == {code: count + 2 for code, count in before.items()}


def test_the_server_names_its_own_version(gateway: Gateway) -> None:
    version = importlib.metadata.version("airworthy")
    assert httpx.get(f"{gateway.base}/version").json() == {"name": "airworthy", "version": version}
    assert httpx.get(f"{gateway.base}/v2").json() == {"name": "airworthy", "version": version, "extensions": []}


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
        ("POST", "/v2/models/infer", 405),
        ("POST", "/v2/models/flight_delay/versions/infer", 405),
        ("POST", "/v2/models/flight_delay/versions//infer", 404),
        ("GET", "/v2/models/flight_delay/versions/1/infer", 405),
        ("GET", "/v2/models/flight_delay/versions", 404),
        ("GET", "/v2/models/flight_delay/versions/9", 404),
        ("GET", "/v2/models/flight_delay/versions/9/ready", 404),
        ("GET", "/v2/models/flight_delay/versions/1/stats", 404),
        ("POST", "/v2/repository/index", 404),
        ("POST", "/models/invocations", 404),
        ("POST", "/models/a/b/invocations", 404),
    ],
)
def test_what_the_protocol_has_not_is_said_so(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = httpx.request(method, f"{gateway.base}{path}", content=b"{}" if method == "POST" else None)
    assert (response.status_code, bool(response.json()["error"])) == (status, True)
