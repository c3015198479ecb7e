"""The Airflow client logs in once, renews an expired token, reads all pages and tells refusal from absence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.errors import Refused, Unavailable

QUESTION = {
    "subject": "Release it?",
    "task_instance": {"dag_id": "m__deploy", "dag_run_id": "manual__1", "task_id": "ask", "map_index": 1},
}


class FakeAirflow(ThreadingHTTPServer):
    """Speaks as much of Airflow's public API as the client needs, from a list of 250 DAGs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens_issued = 0
        self.valid_token = ""
        self.requests: list[tuple[str, str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: FakeAirflow

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        url = urlparse(self.path)
        self.server.requests.append((self.command, url.path, body))
        if url.path == "/auth/token":
            if body["password"] != "right":
                return self._answer(401, {"detail": "Invalid credentials"})
            self.server.tokens_issued += 1
            self.server.valid_token = f"Bearer token-{self.server.tokens_issued}"
            return self._answer(201, {"access_token": f"token-{self.server.tokens_issued}"})
        if self.headers.get("Authorization") != self.server.valid_token:
            return self._answer(401, {"detail": "Not authenticated"})
        if url.path == "/api/v2/dags":
            query = parse_qs(url.query)
            offset, limit = int(query["offset"][0]), int(query["limit"][0])
            names = [{"dag_id": f"dag_{number}"} for number in range(250)]
            return self._answer(200, {"dags": names[offset : offset + limit], "total_entries": 250})
        if url.path.endswith("/hitlDetails"):
            return self._answer(200, {"hitl_details": [QUESTION], "total_entries": 1})
        if url.path.endswith("/dagRuns"):
            return self._answer(200, {"dag_run_id": "manual__1"})
        if url.path.endswith("/dags/m__deploy"):
            return self._answer(200, {})
        if url.path.endswith("/backfills"):
            return self._answer(409, {"detail": "There is already a running backfill"})
        return self._answer(503, {"detail": "starting"})

    do_GET = do_POST = do_PATCH = _handle  # noqa: N815 - the names http.server calls

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    server = FakeAirflow()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def client(server: FakeAirflow, password: str = "right") -> AirflowApi:
    return AirflowApi(f"http://127.0.0.1:{server.server_port}", "admin", password)


def test_all_pages_are_read(airflow: FakeAirflow) -> None:
    assert len(client(airflow).dags()) == 250
    assert airflow.tokens_issued == 1


def test_an_expired_token_is_renewed(airflow: FakeAirflow) -> None:
    api = client(airflow)
    api.dags()
    airflow.valid_token = "Bearer forgotten"
    assert len(api.dags()) == 250
    assert airflow.tokens_issued == 2


def test_a_wrong_password_is_refused(airflow: FakeAirflow) -> None:
    with pytest.raises(Refused, match="401"):
        client(airflow, "wrong").dags()


def test_a_run_by_hand_carries_the_forms_values(airflow: FakeAirflow) -> None:
    assert client(airflow).trigger("flight_delay__train", {"hypothesis": "h"}) == "manual__1"
    assert airflow.requests[-1][2] == {"conf": {"hypothesis": "h"}, "logical_date": None}


def test_what_people_are_asked_is_found_and_answered_at_its_own_place(airflow: FakeAirflow) -> None:
    api = client(airflow)
    [question] = api.unanswered_requests("m__deploy")
    api.answer_request(question, "Approve", "as measured")
    place = "/api/v2/dags/m__deploy/dagRuns/manual__1/taskInstances/ask/1/hitlDetails"
    wanted = {"chosen_options": ["Approve"], "params_input": {"comment": "as measured"}}
    assert airflow.requests[-1] == ("PATCH", place, wanted)
    api.pause("m__deploy")
    assert airflow.requests[-1] == ("PATCH", "/api/v2/dags/m__deploy", {"is_paused": True})


def test_a_second_backfill_is_refused_with_airflows_own_words(airflow: FakeAirflow) -> None:
    from datetime import date

    with pytest.raises(Refused, match="already a running backfill"):
        client(airflow).backfill("flights__ingest", date(2013, 1, 1), date(2013, 1, 2), max_active_runs=2)


def test_a_server_error_is_worth_trying_again(airflow: FakeAirflow) -> None:
    with pytest.raises(Unavailable, match="503"):
        client(airflow).unpause("flights__ingest")


def test_silence_is_worth_trying_again() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        AirflowApi("http://127.0.0.1:9", "admin", "right").dags()
