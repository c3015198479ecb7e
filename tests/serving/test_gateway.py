"""The gateway answers MLflow's scoring protocol and tells everything that is wrong with a request."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import Any

import httpx
import polars as pl
import pytest

from tests.serving.gateway_process import COLUMNS, ROWS, Gateway, expected

RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": COLUMNS, "data": ROWS}},
        {"dataframe_split": {"index": [0, 1, 2, 3], "columns": COLUMNS[::-1], "data": [row[::-1] for row in ROWS]}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"instances": ROWS},
        {"inputs": {name: [row[place] for row in ROWS] for place, name in enumerate(COLUMNS)}},
        {"inputs": ROWS},
    ],
    ids=["split", "split reordered", "records", "instances", "instances as rows", "inputs by column", "inputs as rows"],
)
def test_every_form_of_the_scoring_protocol_gets_the_models_own_answers(gateway: Gateway, content: Any) -> None:
    response = gateway.invoke(content)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == pytest.approx(expected(1), rel=1e-5)


def test_an_answer_names_its_version_and_correlation(gateway: Gateway) -> None:
    response = gateway.invoke(**{"x-correlation-id": "abc-1"})
    assert (response.headers["x-model-version"], response.headers["x-correlation-id"]) == ("1", "abc-1")
    assert len(gateway.invoke().headers["x-correlation-id"]) > 10


def split(**changes: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": COLUMNS, "data": ROWS} | changes}


BAD: list[tuple[str, Any, int, list[str]]] = [
    ("no JSON", b"{", 400, ["the body is not JSON"]),
    ("empty body", b"", 400, ["the body is not JSON"]),
    ("not UTF-8", b'{"inputs": "\xff\xfe"}', 400, ["the body is not JSON"]),
    ("NaN literal", b'{"inputs": [["UA", NaN, 1]]}', 400, ["a missing value is null"]),
    ("beyond 64 bits", b'{"inputs": [["UA", 1e999, 1]]}', 400, ["the body is not JSON"]),
    ("deeply nested", b"[" * 100_000, 400, ["the body is not JSON"]),
    ("an array", [1], 400, ["JSON array; send an object"]),
    ("null", None, 400, ["the body is a JSON null"]),
    ("no form", {}, 400, ["found none"]),
    ("two forms and a typo", {"inputs": ROWS, "instances": ROWS, "idz": []}, 400, ["'idz'", "instances, inputs"]),
    ("split without data", {"dataframe_split": {"columns": COLUMNS}}, 400, ["has no 'data'"]),
    ("split is an array", {"dataframe_split": []}, 400, ["dataframe_split is a JSON array"]),
    ("split data null", split(data=None), 400, ["data is not an array"]),
    ("columns of numbers", split(columns=[1, 2, 3]), 400, ["columns is not an array of names"]),
    ("no rows", split(data=[]), 400, ["no rows"]),
    (
        "missing and extra",
        split(columns=["carrier", "distanse", "hour"]),
        400,
        ["missing column 'distance'", "unknown column 'distanse'"],
    ),
    ("twice", split(columns=["carrier", "distance", "distance"]), 400, ["missing column 'hour'", "given twice"]),
    ("short row", split(data=[["UA", 1], *ROWS]), 400, ["data[0] has 2 values, not 3"]),
    ("row is an object", split(data=[{}]), 400, ["data[0] is a JSON object"]),
    ("text for number", split(data=[["UA", "far", 1], ["UA", 1, "x"]]), 400, ["row 0, column 'distance'", "row 1"]),
    ("number for text", split(data=[[7, 1, 1]]), 400, ["row 0, column 'carrier': '7' is a number"]),
    ("boolean", split(data=[["UA", True, 1]]), 400, ["'True' is a boolean"]),
    ("nested value", split(data=[["UA", [1], {}]]), 400, ["is an array", "is an object"]),
    ("beyond 32 bits", split(data=[["UA", 1e300, 1]]), 400, ["column 'distance': 1e+300 is larger than"]),
    ("huge integer", split(data=[["UA", 10**400, 1]]), 400, ["distance"]),
    ("record misses one", {"dataframe_records": [RECORDS[0], {"carrier": "UA"}]}, 400, ["[1]: missing column"]),
    ("records of numbers", {"dataframe_records": [1]}, 400, ["dataframe_records[0] is a JSON number"]),
    ("ragged columns", {"inputs": {"carrier": ["UA"], "distance": [1, 2], "hour": [1]}}, 400, ["columns of 1, 2"]),
    ("instances null", {"instances": None}, 400, ["instances is a JSON null"]),
    ("ids too few", split() | {"ids": ["a"]}, 400, ["ids has 1 entries for 4 rows"]),
    ("ids of numbers", split() | {"ids": [1, 2, 3, 4]}, 400, ["ids[0] is a JSON number"]),
    ("ids an object", split() | {"ids": {}}, 400, ["ids is a JSON object"]),
    ("params", split() | {"params": {"a": 1}}, 400, ["params are not supported"]),
    ("too many rows", split(data=[["UA", 1, 1]] * 10_001), 413, ["10001 rows; at most 10000"]),
    ("too large", b" " * (8 * 1024 * 1024 + 1), 413, ["larger than 8388608 bytes"]),
]


@pytest.mark.parametrize(("content", "status", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_body_is_answered_with_its_faults_and_never_with_a_server_error(
    gateway: Gateway, content: Any, status: int, says: list[str]
) -> None:
    response = gateway.invoke(json.dumps(content).encode() if content is None else content)
    assert response.status_code == status, response.text
    faults = "\n".join(response.json()["faults"])
    assert [phrase for phrase in says if phrase not in faults] == [], faults


@pytest.mark.parametrize(
    "moment",
    [
        "yesterday",
        "2013-03-01T10:00:00",
        "99999-01-01T00:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
        "1899-12-31T23:59:59.999999Z",
        "2200-01-01T00:00:00Z",
        "2199-12-31T23:00:00-01:00",
    ],
)
def test_a_prediction_time_that_is_no_moment_or_out_of_bounds_is_refused(gateway: Gateway, moment: str) -> None:
    response = gateway.invoke(**{"x-prediction-time": moment})
    assert response.status_code == 400
    assert "x-prediction-time" in response.json()["error"]


def test_every_answered_row_reaches_parquet_whatever_it_holds(gateway: Gateway) -> None:
    numbers = [0, -0.0, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 3.4e38, 1e-320, None]
    texts = ["", "\x00", "answer", "columns", "🚀", "ü" * 5000, 'quote"\n\r\t', "\u2028", None]
    rows = [["UA", number, 1] for number in numbers] + [[text, 1, 1] for text in texts]
    moments = ["1900-01-01T00:00:00+14:00", "2199-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "2013-W09-5T10:00:00Z"]
    name = "every bound"
    answered = 0
    for number, row in enumerate(rows):
        ids = [["", "\x00", "id" * 1000][number % 3]]
        headers = {"x-correlation-id": name} | ({"x-prediction-time": moments[number % 4]} if number % 2 else {})
        answered += gateway.invoke({"inputs": [row], "ids": ids}, **headers).is_success
        values = zip(COLUMNS, ["BYTES", "FP64", "FP32"], row, strict=True)
        tensors = [{"name": one, "shape": [1], "datatype": kind, "data": [value]} for one, kind, value in values]
        url = f"{gateway.base}/v2/models/flight_delay/infer"
        asked = {"inputs": tensors, "parameters": {"ids": ids}}
        answered += httpx.post(url, content=json.dumps(asked), headers=headers, timeout=30).is_success
    gateway.flush()
    frames = [pl.read_parquet(path) for path in gateway.store.glob("predictions/*/*/*.parquet")]
    assert pl.concat(frames).filter(correlation_id=name).height == answered > len(rows)
    assert "\nairworthy_log_set_aside_records 0\n" in httpx.get(f"{gateway.base}/metrics").text


@pytest.mark.parametrize("moment", ["1900-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z", "2200-01-01T08:00:00+14:00"])
def test_a_prediction_time_within_the_bounds_reaches_the_log_exactly(gateway: Gateway, moment: str) -> None:
    assert gateway.invoke(**{"x-prediction-time": moment, "x-correlation-id": moment}).status_code == 200
    gateway.flush()
    frames = [pl.read_parquet(path) for path in gateway.store.glob("predictions/*/*/*.parquet")]
    logged = pl.concat(frames).filter(correlation_id=moment)
    assert set(logged["prediction_time"]) == {datetime.fromisoformat(moment)}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/models/nobody/invocations", 404),
        ("GET", "/invocations", 405),
        ("POST", "/health", 405),
        ("GET", "/nothing", 404),
        ("DELETE", "/models/flight_delay/invocations", 405),
    ],
)
def test_an_unknown_model_page_or_method_says_so(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = httpx.request(method, f"{gateway.base}{path}", content=json.dumps({"inputs": ROWS}))
    assert response.status_code == status
    assert response.json()["error"]


def test_the_admin_pages_are_not_on_the_public_listener(gateway: Gateway) -> None:
    for path in ("/flush", "/models/flight_delay/release", "/models/flight_delay/rollback"):
        assert httpx.post(f"{gateway.base}{path}", json={}).status_code == 404


def test_pages_for_machines_say_what_is_live(gateway: Gateway) -> None:
    gateway.invoke()
    assert httpx.get(f"{gateway.base}/health").json() == {"status": "alive"}
    ready = httpx.get(f"{gateway.base}/ready")
    assert (ready.status_code, ready.json()["models"]) == (200, {"flight_delay": "1"})
    page = httpx.get(f"{gateway.base}/openapi.json").json()
    body = page["paths"]["/models/flight_delay/invocations"]["post"]["requestBody"]
    columns = body["content"]["application/json"]["schema"]["properties"]["dataframe_records"]["items"]["properties"]
    assert columns["carrier"] == {"type": ["string", "null"]}


def test_a_compressed_body_is_scored_and_one_of_another_kind_is_refused_with_what_is_taken(gateway: Gateway) -> None:
    body = json.dumps({"inputs": ROWS}).encode()
    packed = gateway.invoke(gzip.compress(body), **{"content-encoding": "gzip", "content-type": "application/json"})
    assert packed.json()["predictions"] == pytest.approx(expected(1), rel=1e-5)
    other = gateway.invoke(b"carrier,distance,hour\nUA,1,2\n", **{"content-type": "text/csv"})
    assert (other.status_code, other.headers["accept"]) == (415, "application/json")
    assert other.json()["error"] == "content type 'text/csv' is not taken; send application/json"
    bomb = gateway.invoke(gzip.compress(bytes(50_000_000)), **{"content-encoding": "gzip"})
    assert (bomb.status_code, "larger than 8388608 bytes" in bomb.text) == (413, True)
    assert gateway.invoke(b"\xef\xbb\xbf" + body).status_code == 200, "a byte order mark is no fault"


def test_a_browser_gets_the_api_as_a_page_that_loads_and_runs_nothing(gateway: Gateway) -> None:
    first, second = (httpx.get(f"{gateway.base}{path}") for path in ("/", "/docs"))
    assert first.text == second.text
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in first.headers["content-security-policy"]
    assert "flight_delay, live version 1" in first.text


def test_metrics_count_requests_rows_and_latency_in_the_text_that_prometheus_reads(gateway: Gateway) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    def read() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = httpx.get(f"{gateway.base}/metrics").text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    labels = (("model", "flight_delay"), ("version", "1"))
    code = (("code", "200"), *labels)
    before = read()
    gateway.invoke()
    gateway.invoke({"instances": []})
    after = read()
    requests = ("airworthy_requests_total", code)
    assert after[requests] - before.get(requests, 0) == 1
    assert after["airworthy_predictions_total", labels] - before.get(("airworthy_predictions_total", labels), 0) == 4
    buckets = [value for (name, _), value in after.items() if name == "airworthy_request_seconds_bucket"]
    assert max(buckets) == after["airworthy_request_seconds_count", labels]
    unseen = ("airworthy_unseen_categories_total", (("column", "carrier"), ("model", "flight_delay")))
    assert after[unseen] - before.get(unseen, 0) == 1
    without = ("airworthy_requests_without_ids_total", (("model", "flight_delay"),))
    assert after[without] - before.get(without, 0) == 1
    assert after["airworthy_prediction_count", labels] - before.get(("airworthy_prediction_count", labels), 0) == 4
    assert after["airworthy_request_rows_sum", labels] == after["airworthy_predictions_total", labels]
    assert 0 < after["airworthy_request_seconds_max", labels] < 60
    assert after["airworthy_way_back", (("model", "flight_delay"),)] == 0
    for process in ("supervisor", "worker-0"):
        assert after["airworthy_process_resident_bytes", (("process", process),)] > 1e6
        assert after["airworthy_process_cpu_seconds_total", (("process", process),)] > 0
    assert after["airworthy_memory_limit_bytes", ()] > 1e8
    assert after["airworthy_generation", ()] == 1
    assert after["airworthy_log_dropped_total", ()] == 0


def test_a_worker_loads_none_of_the_heavy_libraries(gateway: Gateway) -> None:
    (pid,) = gateway.worker_pids()
    with open(f"/proc/{pid}/maps") as maps:
        mapped = maps.read()
    assert "onnxruntime" in mapped
    assert [name for name in ("polars", "pandas", "pyarrow", "xgboost", "sklearn") if f"/{name}/" in mapped] == []
