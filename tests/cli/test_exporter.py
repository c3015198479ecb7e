"""`airworthy exporter` answers whom it should, and says what its account of Airflow lacks."""

from __future__ import annotations

import argparse
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.cli import exporter
from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.testing.ports import FakePorts

TOKEN = "a-token-of-the-tests-exporter"


def answer(
    application: exporter.Wsgi,
    path: str = "/metrics",
    method: str = "GET",
    token: str | None = None,
    host: str = "127.0.0.1:9109",
) -> str:
    """The status line of an answer."""
    statuses: list[str] = []
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": "", "HTTP_HOST": host}
    if token is not None:
        environ["HTTP_AUTHORIZATION"] = token
    b"".join(application(environ, lambda status, headers: statuses.append(status)))
    return statuses[0]


@pytest.mark.parametrize(
    ("declared", "given", "status"),
    [
        (None, None, "200 OK"),
        (TOKEN, f"Bearer {TOKEN}", "200 OK"),
        (TOKEN, None, "401 Unauthorized"),
        (TOKEN, f"Bearer {TOKEN}x", "401 Unauthorized"),
        (TOKEN, TOKEN, "401 Unauthorized"),
        (TOKEN, "Bearer \xe9", "401 Unauthorized"),
    ],
)
def test_a_scrape_needs_the_token_where_there_is_one(
    declared: str | None, given: str | None, status: str, tmp_path: Path
) -> None:
    """Nothing but the whole token opens it."""
    assert answer(exporter.metrics_application(FakePorts.make(tmp_path), declared), token=given) == status


@pytest.mark.parametrize(
    ("host", "status"), [("rebound.example:9109", "403 Forbidden"), ("[::1]:9109", "200 OK"), ("localhost", "200 OK")]
)
def test_without_a_token_no_name_that_a_page_lets_point_here_is_answered(
    host: str, status: str, tmp_path: Path
) -> None:
    application = exporter.metrics_application(FakePorts.make(tmp_path), None)
    assert answer(application, host=host) == status
    guarded = exporter.metrics_application(FakePorts.make(tmp_path), TOKEN)
    assert answer(guarded, token=f"Bearer {TOKEN}", host="metrics.example") == "200 OK"


def test_connections_that_send_nothing_keep_no_scrape_waiting(tmp_path: Path) -> None:
    application = exporter.metrics_application(FakePorts.make(tmp_path), None)
    with exporter.scrape_server("127.0.0.1", 0, application) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        address = ("127.0.0.1", server.server_port)
        silent = [socket.create_connection(address) for _ in range(3 * exporter.MOST_CONNECTIONS)]
        scraped = httpx.get(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30)
        assert scraped.status_code == 200
        silent[0].settimeout(30)
        assert silent[0].recv(1) == b"", "the oldest had to go"
        for connection in silent:
            connection.close()
        server.shutdown()


@pytest.mark.parametrize(("path", "method"), [("/", "GET"), ("/metrics/", "GET"), ("/metrics", "POST")])
def test_there_is_nothing_but_the_metrics(path: str, method: str, tmp_path: Path) -> None:
    """Any other path or method is not found."""
    assert answer(exporter.metrics_application(FakePorts.make(tmp_path), None), path, method) == "404 Not Found"


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        (None, "name a --token-file"),
        ("short", "has 5 characters; it needs at least 20"),
        ("\0missing", "cannot be read"),
    ],
)
def test_it_does_not_serve_others_without_a_good_token(token: str | None, fault: str, tmp_path: Path) -> None:
    """A listener that other machines reach asks for proof."""
    path = tmp_path / "token"
    if token == "short":
        path.write_text(token)
    options = argparse.Namespace(host="0.0.0.0", port=9109, token_file=path if token else None)
    with pytest.raises(Refused, match=fault):
        exporter._run(options, FakePorts.make(tmp_path))


def test_an_account_of_airflow_is_declared_whole_or_not_at_all(tmp_path: Path) -> None:
    """The refusal names the variables that are missing."""
    settings = FakePorts.make(tmp_path).settings
    with pytest.raises(Refused, match="set AIRWORTHY_AIRFLOW_USER, AIRWORTHY_AIRFLOW_PASSWORD_FILE"):
        exporter.open_airflow(settings, {"AIRWORTHY_AIRFLOW": "https://airflow.example"})
    assert exporter.open_airflow(settings, {}) is None


@pytest.mark.parametrize("port", ["0", "99999"])
def test_a_port_that_it_cannot_have_is_refused_in_words(port: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1]) if port == "0" else port
        options = parser().parse_args(["exporter", "--port", number])
        with pytest.raises(Refused, match=rf"cannot listen on 127.0.0.1:{number}: .*; free the port or choose another"):
            options.run(options, FakePorts.make(tmp_path))
