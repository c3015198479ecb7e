"""A version is ready once it answers by its Service: by the endpoints, and by the address that nodes route."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pipelines.adapters.kubernetes import served_pods
from pipelines.adapters.kubernetes.served_pods import await_answer
from pipelines.errors import Unavailable
from tests.free_port import free_port


class Api:
    """A cluster whose Service has this address; ``failures`` are raised by its first pages, one each."""

    def __init__(self, address: str, failures: list[Exception]) -> None:
        self.address, self.failures, self.pages = address, failures, 0

    def read(self, version: str, kind: str, name: str) -> dict[str, Any]:
        return {"spec": {"clusterIP": self.address}}

    def read_http_page(self, *_: Any) -> str:
        self.pages += 1
        if self.failures:
            raise self.failures.pop(0)
        return "ready"


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Ready)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_waits_for_the_endpoints_and_then_for_the_address(port: int) -> None:
    api = Api("127.0.0.1", [Unavailable("no endpoints available")] * 2)
    await_answer(api, "v1", port, "/ready", seconds=20)  # type: ignore[arg-type]
    assert api.pages == 3


def test_a_service_without_endpoints_is_named_with_the_reason_when_its_time_is_over() -> None:
    api = Api("127.0.0.1", [Unavailable("no endpoints available")] * 100)
    with pytest.raises(Unavailable, match=r"Service v1 did not answer within 0\.5 s: no endpoints available"):
        await_answer(api, "v1", free_port(), "/ready", seconds=0.5)  # type: ignore[arg-type]


def test_an_address_that_a_node_routes_late_is_waited_for() -> None:
    late, waited = free_port(), threading.Event()
    server: list[HTTPServer] = []

    def listen() -> None:
        waited.wait(0.7)
        server.append(HTTPServer(("127.0.0.1", late), Ready))
        server[0].serve_forever()

    thread = threading.Thread(target=listen)
    thread.start()
    await_answer(Api("127.0.0.1", []), "v1", late, "/ready", seconds=20)  # type: ignore[arg-type]
    assert server, "it returned before anything listened"
    server[0].shutdown()
    thread.join()
    server[0].server_close()


@pytest.mark.parametrize("path", ["/ready", "/broken"])
def test_an_address_that_this_machine_cannot_reach_is_given_up_in_favour_of_the_endpoints(
    path: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_pods, "ROUTED_SECONDS", 0.5)
    api = Api("127.0.0.1", [])
    nobody = free_port() if path == "/ready" else port  # nothing listens, or something else does
    await_answer(api, "v1", nobody, path, seconds=20)  # type: ignore[arg-type]
    assert api.pages == 1
