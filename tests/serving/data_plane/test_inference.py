"""The same rows get the same treatment by either protocol, and whether or not they are answered without a task."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from pipelines.rollout.plan import BreakerLimits, RolloutPlan, Watch
from pipelines.rollout.transitions import Mirror, RolloutRecord, Route, Served
from pipelines.serving.data_plane.inference import DataPlane, PendingRequest
from pipelines.serving.data_plane.public import MAX_KNOWN_URLS, PublicApplication, make_listener_state
from pipelines.serving.data_plane.routing import LiveModel, LoadedTable
from pipelines.serving.models import mlflow_protocol
from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.predictor import Predictor, TimedAnswers
from pipelines.serving.models.response_cache import CachedPredictor, ResponseCache
from pipelines.serving.models.rows import RowSchema
from pipelines.serving.prediction_log.writer import LoggedAnswer, LogWriter, read_segment
from pipelines.serving.settings import ApiKeyConfig, AuthenticationConfig, CacheConfig, GatewayConfig
from pipelines.serving.traffic.candidate_client import CandidateClient, CandidateFailed
from pipelines.serving.traffic.circuit_breaker import CircuitBreaker
from pipelines.serving.traffic.counters import ArmCounters
from pipelines.serving.traffic.mirror_queue import MirrorQueue, mirror_sockets, receive
from pipelines.serving.traffic.split import TrafficSplit, arm_headers
from tests.serving.front_gateways import KEYS, sha256

MODEL = "flight_delay"
NAMES = ["carrier", "distance", "hour"]
TYPES = ["categorical", "numeric", "numeric"]
DATATYPES = ["BYTES", "FP64", "INT64"]
FEATURES = [
    InputColumn("carrier", "categorical"),
    InputColumn("distance", "numeric", minimum=0),
    InputColumn("hour", "numeric"),
]
MANIFEST = BundleManifest(MODEL, "1", "onnx", "value", FEATURES, {}, "0" * 64, "model.onnx")
CHAMPION, CANDIDATE = Served("1", "", "a" * 64), Served("2", "", "b" * 64)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


ROW = ["UA", 500.0, 7]


class Question(msgspec.Struct):
    """What is asked about, before it is put into a protocol; ``body`` is sent as it stands instead."""

    data: Sequence[Sequence[Any]] = (ROW,)
    ids: list[str] | None = None
    names: Sequence[str] = tuple(NAMES)
    headers: dict[str, str] = {}
    model: str = MODEL
    body: bytes | None = None


def mlflow(question: Question) -> tuple[str, Any]:
    content: dict[str, Any] = {"dataframe_split": {"columns": question.names, "data": question.data}}
    return f"/models/{question.model}/invocations", content | ({"ids": question.ids} if question.ids else {})


def open_inference(question: Question) -> tuple[str, Any]:
    tensors = [
        {"name": name, "shape": [len(question.data)], "datatype": kind, "data": [row[place] for row in question.data]}
        for place, (name, kind) in enumerate(zip(question.names, DATATYPES, strict=False))
    ]
    parameters = {"parameters": {"ids": question.ids}} if question.ids else {}
    return f"/v2/models/{question.model}/infer", {"inputs": tensors} | parameters


PROTOCOLS = {"MLflow": mlflow, "Open Inference": open_inference}


def score(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if (matrix[:, 2] == 13).any():
        raise ValueError("this model does not like 13")
    return np.nan_to_num(matrix) @ np.array([0.1, 0.0001, 0.01])


def make_schema(features: list[InputColumn]) -> RowSchema:
    return RowSchema(features, 5)


class FakeHost:
    """A candidate that answers 0.5, or fails."""

    ready, served, names, types, features = True, CANDIDATE, NAMES, TYPES, FEATURES

    def __init__(self, *, fails: bool) -> None:
        self._fails, self.breaker = fails, CircuitBreaker(BreakerLimits())
        self.model_seconds, self.way_seconds = 0.001, 0.0

    async def predict(self, values: Sequence[Any], count: int, seconds: float) -> TimedAnswers:
        await asyncio.sleep(self.way_seconds)
        if self._fails:
            raise CandidateFailed("error", "it broke")
        return [0.5] * count, self.model_seconds


class Gateway:
    """The public listener of one worker, without its sockets, and all that it leaves behind."""

    def __init__(self, folder: Path, table: str) -> None:
        self._folder = folder
        self.log = LogWriter(folder, "0-1", lambda *_: None)
        self.arm_counters = ArmCounters()
        self._write, self._mirrored = mirror_sockets()
        self._feed = MirrorQueue(self._write, lambda *_: None)
        self.data_plane = DataPlane(self.log, clock=lambda: 10**18)
        self.data_plane._worker = "0" * 12  # so that each request has the same id, and the same luck, in each gateway
        champion = CachedPredictor(
            Predictor(MANIFEST, {"carrier": ["AA", "UA"]}, score), ResponseCache(100_000, 60), CHAMPION.sha256
        )
        columns = self.log.columns(MODEL, "1", NAMES, TYPES)
        live = LiveModel(
            "1",
            champion,
            RowSchema(FEATURES, 5, categories={"carrier": frozenset(["AA", "UA", None])}),
            columns,
            arm_headers("1", "champion"),
            self._arms(table),
        )
        tables = {"nothing": LoadedTable(1), "broken": LoadedTable(1, {}, {MODEL: "it is damaged"})}
        champion_only = live.split is None or live.split.is_champion_only
        self.data_plane.table = tables.get(table, LoadedTable(1, {MODEL: live}, is_champion_only=champion_only))
        callers = [
            ApiKeyConfig("root", sha256(KEYS["root"]), ["predict", "admin"], None),
            ApiKeyConfig("caller", sha256(KEYS["caller"]), ["predict"], None),
        ]
        door = GatewayConfig(
            AuthenticationConfig(callers, None, None, [], 10), cache=CacheConfig("memory", 100_000, 60)
        )
        watch = make_listener_state(door, 100_000, self.data_plane.counters)
        self.front = PublicApplication(self.data_plane, cast(Any, None), door, watch, folder)

    def _arms(self, table: str) -> TrafficSplit | None:
        if table in ("promoted", "promoted and late"):
            deadline_ms = 1e-6 if table == "promoted and late" else 1e6
            plan = RolloutPlan("ab", watch=Watch(60), deadline_ms=deadline_ms)
            ended = RolloutRecord("r-1", plan, "FINALISING", NOW, NOW, CANDIDATE, CHAMPION, 2, NOW)
            route = Route(CHAMPION, CANDIDATE, rollout=ended)
            log, counters, feed = self.log, self.arm_counters, self._feed
            return TrafficSplit(MODEL, route, ended, None, MANIFEST, make_schema, log, counters, feed)
        if table not in ("candidate", "failing candidate", "mirror"):
            return None
        plan = RolloutPlan("shadow" if table == "mirror" else "canary")
        rollout = RolloutRecord("r-1", plan, "BAKING", NOW, NOW + timedelta(hours=1), CHAMPION, CANDIDATE)
        split = {} if table == "mirror" else {"1": 5000, "2": 5000}
        mirror = Mirror("2", 10_000) if table == "mirror" else None
        route = Route(CHAMPION, None, CANDIDATE, split, mirror, rollout)
        self.host = FakeHost(fails=table == "failing candidate")
        host = cast(CandidateClient, self.host)
        return TrafficSplit(MODEL, route, rollout, host, MANIFEST, make_schema, self.log, self.arm_counters, self._feed)

    async def ask(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        plain: bool,
        who: str = "root",
        method: str = "POST",
    ) -> Any:
        """Status, headers and content of the answer; ``plain``: without a task, where that is possible."""
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        fields += [(b"x-api-key", KEYS[who].encode()), (b"content-length", str(len(body)).encode())]
        request = self.front.begin_request(path.encode(), fields, ("127.0.0.1", 1)) if plain else None
        if request is not None:
            response = self.front.finish_request(request, body)
            status, answered, content = response.status, list(response.headers), response.body
        else:
            status, answered, content = await self._by_asgi(method, path, fields, body)
        await asyncio.sleep(0)
        own = {name: value for name, value in answered if name not in (b"content-type", b"content-length")}
        return status, own, json.loads(content)

    async def _by_asgi(
        self, method: str, path: str, fields: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, Any, bytes]:
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": fields, "client": ("127.0.0.1", 1)}
        await asyncio.create_task(self.front(scope, receive, send))
        return messages[0]["status"], messages[0]["headers"], messages[1]["body"]

    def left(self) -> dict[str, Any]:
        """Log rows, mirrored rows and counts, without what no two requests share."""
        self._feed.flush()
        self.log.rotate()
        records = [record for path in self._folder.glob("*.seg") for record in read_segment(path.read_bytes())[0]]
        mirrored = receive(self._mirrored)
        for end in (self._write, self._mirrored):
            end.close()
        return {
            "log": [comparable(record) if isinstance(record, LoggedAnswer) else record for record in records],
            "mirrored": [comparable(answer) for answer in mirrored.answers] if mirrored else [],
            "requests": self.data_plane.counters.requests,
            "rows": self.data_plane.counters.rows,
            "without_ids": self.data_plane.counters.without_ids,
            "unseen": self.data_plane.counters.unseen,
            "tallies": [
                (key, tally.requests, tally.bad, tally.fallback, tally.sent)
                for key, tally in self.arm_counters.take_tallies()
            ],
        }


def comparable(answer: LoggedAnswer) -> LoggedAnswer:
    """Without what no two answers share; columns are arrays once they were sent anywhere."""
    return msgspec.structs.replace(answer, latency_us=0, values=[list(column) for column in answer.values])


async def conversation(folder: Path, table: str, protocol: str, questions: Sequence[Question], *, plain: bool) -> Any:
    """Everything that could be noticed of these questions, the answers put into MLflow's words."""
    gateway, answers = Gateway(folder, table), []
    for question in questions:
        path, content = PROTOCOLS[protocol](question)
        body = json.dumps(content).encode() if question.body is None else question.body
        status, headers, answer = await gateway.ask(path, body, question.headers, plain=plain)
        if "outputs" in answer:
            answer = {"predictions": answer["outputs"][0]["data"]}
        answers.append((status, headers, answer))
    return answers, gateway.left()


GOOD = {
    "one row": Question(),
    "the same again": Question(),
    "several rows": Question([["UA", 500.0, 7], [None, None, 9], ["ZZ", 1, None]], ids=["a", "b", "c"]),
    "a number beyond 64 bits": Question([["UA", 10**30, 7]]),
    "a moment and a correlation id": Question(
        headers={"x-prediction-time": "2013-03-01T10:00:00Z", "x-correlation-id": "abc-1"}
    ),
    "the live version by name": Question(headers={"x-model-version": "1"}),
    "a sticky key": Question(headers={"x-user-id": "lee"}),
    "a report on rows with an unseen category": Question(
        [["ZZ", 1, 2], ["UA", 1, 2], ["zz", 1, 2]], headers={"x-input-report": "yes"}
    ),
    "a report on rows with nothing odd": Question(ids=["a"], headers={"x-input-report": "1"}),
    "JSON in so many words": Question(headers={"content-type": "Application/JSON; charset=UTF-8"}),
}
BAD = {
    "no JSON": Question(body=b"{"),
    "not UTF-8": Question(body=b'{"inputs": "\xff\xfe"}'),
    "nested too deeply": Question(body=b"[" * 50_000),
    "no rows": Question([]),
    "a column is missing": Question([["UA", 500.0]], names=NAMES[:2]),
    "a column is unknown": Question([["UA", 500.0, 7]], names=["carrier", "distance", "our"]),
    "wrong types": Question([[None, "far", True], ["UA", 1, [1]]]),
    "out of the range of the schema": Question([["UA", -1, 7]]),
    "out of the range of 32 bits": Question([["UA", 1e300, 10**400]]),
    "too many rows": Question([ROW] * 6),
    "too few ids": Question([ROW] * 2, ids=["a"]),
    "no moment": Question(headers={"x-prediction-time": "yesterday"}),
    "the model fails": Question([["UA", 500.0, 13]]),
    "a version that is not loaded": Question(headers={"x-model-version": "9"}),
    "an unknown model": Question(model="nobody"),
    "an unknown model of a long name": Question(model="n" * 100),
    "too large a body": Question(body=b" " * 100_001),
    "another content type": Question(headers={"content-type": "text/csv"}),
    "another compression": Question(headers={"content-encoding": "br"}),
    "no gzip": Question(headers={"content-encoding": "gzip"}),
    "beyond the prediction times": Question(headers={"x-prediction-time": "9999-12-31T23:59:59-14:00"}),
}


QUESTIONS = GOOD | BAD


def noticed(folder: Path, table: str, protocol: str, *, plain: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer to each question, and what was left behind."""
    talk = conversation(folder / f"{protocol}, {plain}", table, protocol, list(QUESTIONS.values()), plain=plain)
    answers, left = asyncio.run(talk)
    return dict(zip(QUESTIONS, answers, strict=True)), left


@pytest.mark.parametrize("plain", [True, False], ids=["at once", "in a task"])
@pytest.mark.parametrize(
    "table", ["champion", "nothing", "broken", "mirror", "candidate", "failing candidate", "promoted"]
)
def test_the_same_questions_get_the_same_by_either_protocol(tmp_path: Path, table: str, plain: bool) -> None:
    assert noticed(tmp_path, table, "MLflow", plain=plain) == noticed(tmp_path, table, "Open Inference", plain=plain)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("table", ["champion", "nothing", "broken", "mirror", "promoted"])
def test_the_same_questions_get_the_same_at_once_and_in_a_task(tmp_path: Path, table: str, protocol: str) -> None:
    assert noticed(tmp_path, table, protocol, plain=True) == noticed(tmp_path, table, protocol, plain=False)


def test_the_questions_meet_every_kind_of_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers, left = noticed(tmp_path, "champion", "Open Inference")
    (failure,) = caplog.records  # a failed model's answer names no value, and its line leads to the request
    status, headers, _ = answers["the model fails"]
    assert (status, failure.__dict__["correlation_id"]) == (500, headers[b"x-correlation-id"].decode())
    assert {answers[name][0] for name in GOOD} == {200}
    assert [name for name in GOOD if b"x-cache" in answers[name][1]] == [
        "the same again",
        "a moment and a correlation id",
        "the live version by name",
        "a sticky key",
        "a report on rows with nothing odd",
        "JSON in so many words",
    ]
    assert left["rows"] == {(MODEL, "1"): 14}
    assert left["without_ids"] == {(MODEL,): 8}
    assert left["unseen"] == {(MODEL, "carrier"): 3}
    known, unknown = {200: 10, 400: 12, 404: 1, 413: 1, 500: 1}, {400: 1, 404: 2, 413: 1, 415: 2}
    assert left["requests"] == {(MODEL, "1", str(code)): count for code, count in known.items()} | {
        ("", "", str(code)): count for code, count in unknown.items()
    }
    assert {answer[0] for answer in noticed(tmp_path / "nothing", "nothing", "MLflow")[0].values()} == {
        503,
        400,
        413,
        415,
    }
    assert len(noticed(tmp_path / "mirror", "mirror", "Open Inference")[1]["mirrored"]) == 10
    arms = [answer[1].get(b"x-model-arm") for answer in noticed(tmp_path / "arms", "candidate", "MLflow")[0].values()]
    assert {b"champion", b"candidate"} < set(arms)
    assert any(tally[3] for tally in noticed(tmp_path / "failing", "failing candidate", "MLflow")[1]["tallies"])


def test_a_report_says_what_was_odd_about_the_rows_that_were_answered(tmp_path: Path) -> None:
    answers, _ = noticed(tmp_path, "champion", "MLflow")
    reports = {
        name: json.loads(answer[1][b"x-input-report"])
        for name, answer in answers.items()
        if b"x-input-report" in answer[1]
    }
    assert reports == {
        "a report on rows with an unseen category": {
            "rows": 3,
            "rows_without_id": 3,
            "unseen_categories": {"carrier": 2},
        },
        "a report on rows with nothing odd": {"rows": 1, "rows_without_id": 0, "unseen_categories": {}},
    }


# ---- versions in the path ----------------------------------------------------------------------------------------


def ask_versions(
    folder: Path, table: str, who: str, versions: Sequence[str | None], headers: Mapping[str, str] | None = None
) -> tuple[list[tuple[int, str | None, Any]], dict[str, Any]]:
    """Status, answering version and content of one request per version in its path, and what they left."""

    async def ask_all() -> tuple[list[Any], dict[str, Any]]:
        gateway, answers = Gateway(folder, table), []
        _, content = open_inference(Question())
        for version in versions:
            suffix = "" if version is None else f"/versions/{version}"
            status, _, answer = await gateway.ask(
                f"/v2/models/{MODEL}{suffix}/infer", json.dumps(content).encode(), headers or {}, plain=True, who=who
            )
            answers.append((status, answer.get("model_version"), answer))
        return answers, gateway.left()

    return asyncio.run(ask_all())


def test_a_caller_gets_the_version_it_names_only_where_its_request_is_routed_to_it(tmp_path: Path) -> None:
    routed, _ = ask_versions(tmp_path / "routed", "candidate", "caller", [None] * 20)
    arms = [version for _, version, _ in routed]
    assert set(arms) == {"1", "2"}
    for named in ("1", "2"):
        answers, left = ask_versions(tmp_path / named, "candidate", "caller", [named] * 20)
        assert [(status, version) for status, version, _ in answers] == [
            (200, named) if arm == named else (403, None) for arm in arms
        ]
        refusals = {answer["error"] for status, _, answer in answers if status == 403}
        (refusal,) = refusals
        assert f"is routed to version {'1' if named == '2' else '2'}; only the scope admin chooses" in refusal
        records = [record for record in left["log"] if isinstance(record, LoggedAnswer)]
        assert len(records) == arms.count(named), "a refused request is no answer"
        assert sum(requests for _, requests, *_ in left["tallies"]) == arms.count(named)


def test_the_scope_admin_chooses_a_version_by_its_path_and_no_arm_counts_it(tmp_path: Path) -> None:
    answers, left = ask_versions(tmp_path, "candidate", "root", ["1", "2"] * 5)
    assert [(status, version) for status, version, _ in answers] == [(200, "1"), (200, "2")] * 5
    assert left["tallies"] == []


def test_a_version_that_is_not_loaded_is_unknown_to_everybody(tmp_path: Path) -> None:
    for place, (table, who) in enumerate([("champion", "caller"), ("champion", "root"), ("candidate", "caller")]):
        ((status, _, answer),), _ = ask_versions(tmp_path / str(place), table, who, ["9"])
        assert (status, answer["error"]) == (404, "version '9' is not loaded; version 1 is live")


def test_without_a_rollout_every_caller_may_name_the_live_version(tmp_path: Path) -> None:
    answers, left = ask_versions(tmp_path, "champion", "caller", ["1"])
    assert [(status, version) for status, version, _ in answers] == [(200, "1")]
    assert left["rows"] == {(MODEL, "1"): 1}


def test_a_version_that_fails_is_answered_for_by_the_champion_which_says_so(tmp_path: Path) -> None:
    answers, _ = ask_versions(tmp_path, "failing candidate", "caller", ["2"] * 10)
    assert {(status, version) for status, version, _ in answers} == {(200, "1"), (403, None)}


def test_a_header_and_a_path_that_name_two_versions_are_refused(tmp_path: Path) -> None:
    ((status, _, answer),), _ = ask_versions(tmp_path, "candidate", "root", ["1"], {"x-model-version": "2"})
    assert (status, "name one" in answer["error"]) == (400, True)


@pytest.mark.parametrize("table", ["champion", "candidate"])
def test_the_pages_describe_each_version_that_is_served_and_no_other(tmp_path: Path, table: str) -> None:
    async def read(path: str) -> tuple[int, Any]:
        status, _, answer = await gateway.ask(path, b"", {}, plain=False, who="caller", method="GET")
        return status, answer

    async def read_all() -> None:
        served = ["1", "2"] if table == "candidate" else ["1"]
        for version in ("1", "2", "9"):
            status, metadata = await read(f"/v2/models/{MODEL}/versions/{version}")
            ready = await read(f"/v2/models/{MODEL}/versions/{version}/ready")
            if version in served:
                assert (status, metadata["versions"], metadata["name"]) == (200, served, MODEL)
                assert [tensor["name"] for tensor in metadata["inputs"]] == NAMES
                assert ready == (200, {"name": MODEL, "ready": True})
            else:
                assert (status, ready[0]) == (404, 404)

    gateway = Gateway(tmp_path, table)
    asyncio.run(read_all())
    gateway.left()


@pytest.mark.parametrize(
    ("table", "bad"), [("promoted", {"error": 1}), ("promoted and late", {"error": 1, "deadline": 9})]
)
def test_a_promoted_versions_answers_are_judged_as_a_candidates_were(
    tmp_path: Path, table: str, bad: dict[str, int]
) -> None:
    answers, left = noticed(tmp_path, table, "MLflow")
    assert {answers[name][1][b"x-model-arm"] for name in GOOD} == {b"champion"}
    [(key, requests, counted, fallbacks, _)] = left["tallies"]
    assert (key, counted, fallbacks) == ((MODEL, "r-1", 2, "1", "champion"), bad, 0)
    assert requests == 10, "a request by the name of its version is not counted"


def test_a_refused_request_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, "champion")
    request = PendingRequest(mlflow_protocol, MODEL, {})
    gc.collect()
    gc.disable()
    try:
        assert gateway.data_plane.infer_inline(request, b"{").status == 400
        assert gc.collect() == 0
    finally:
        gc.enable()
        gateway.left()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_where_only_champions_answer_no_request_needs_a_task(tmp_path: Path, protocol: str) -> None:
    for table, plain in (("champion", True), ("mirror", True), ("nothing", True), ("candidate", False)):
        gateway = Gateway(tmp_path, table)
        path, _ = PROTOCOLS[protocol](Question())
        assert (gateway.front.begin_request(path.encode(), [(b"content-length", b"9")], None) is not None) == plain
        gateway.left()


def test_urls_that_callers_make_up_are_remembered_up_to_a_bound(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, "champion")
    for number in range(MAX_KNOWN_URLS + 10):
        for path in (f"/models/m{number}/invocations", f"/models/m/invocations?{number}", f"/m{number}"):
            gateway.front.begin_request(path.encode(), [(b"content-length", b"9")], None)
    assert 0 < len(gateway.front._known_urls) <= MAX_KNOWN_URLS
    gateway.left()


@pytest.mark.parametrize(
    ("model_seconds", "way_seconds", "beyond"),
    [(0.001, 0.05, 0), (0.03, 0.0, 1), (0.005, 0.0, 0)],
    ids=["a long way to a fast model", "a slow model", "less than a hundredth of the deadline"],
)
def test_an_answer_is_slow_by_what_its_model_takes_and_not_by_the_way_to_it(
    tmp_path: Path, model_seconds: float, way_seconds: float, beyond: int
) -> None:
    """The champion took 0.2 ms in the minute before."""
    gateway = Gateway(tmp_path, "candidate")
    percentile = gateway.arm_counters.champion_latency(MODEL)
    for number in range(200):
        percentile.add(0.0002, number / 10)
    percentile.add(0.0002, 61)
    gateway.host.model_seconds, gateway.host.way_seconds = model_seconds, way_seconds

    async def ask_until_the_candidate_answers() -> None:
        arm, number = b"", 0
        while arm != b"candidate":
            number += 1
            path, content = mlflow(Question([["UA", 500.0, number]], ids=[f"{number}"]))
            _, headers, _ = await gateway.ask(path, json.dumps(content).encode(), {}, plain=False)
            arm = headers[b"x-model-arm"]

    asyncio.run(ask_until_the_candidate_answers())
    tallies = {key[-1]: tally for key, tally in gateway.arm_counters.take_tallies()}
    assert (tallies["candidate"].requests, tallies["candidate"].beyond_p99) == (1, beyond)
    assert tallies["candidate"].seconds >= way_seconds, "a limit on what callers wait for counts all of it"
