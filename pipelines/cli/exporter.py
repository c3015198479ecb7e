"""`airworthy exporter` serves metrics of Airflow and the ledger to Prometheus, beside the gateway's own `/metrics`."""

from __future__ import annotations

import argparse
import hmac
import os
import signal
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from pipelines.cli import arguments
from pipelines.cli.terminal_text import print_line
from pipelines.errors import Refused, cannot_listen
from pipelines.loopback import is_loopback, names_this_machine
from pipelines.ports import Ports
from pipelines.settings import Settings, embedded_ports

PORT = 9109
SHORTEST_TOKEN = 20
READER = "viewer"
"""The user of the embedded Airflow that reads for the exporter: it may look and change nothing."""
MOST_CONNECTIONS = 16
"""Beyond it the oldest one is closed: one that sends nothing keeps no scrape waiting."""
IDLE_SECONDS = 10
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("exporter", help="serve metrics of Airflow and the ledger", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=arguments.count, default=PORT, help="port to listen at (%(default)s)")
    parser.add_argument("--token-file", metavar="FILE", help="file with the bearer token that a scrape has to send")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, ports: Ports) -> int:
    """Serve until SIGTERM or SIGINT."""
    token = _read_token(Path(options.token_file)) if options.token_file else None
    if token is None and not is_loopback(options.host):
        raise Refused(f"others reach {options.host}, so that a scrape has to prove who it is; name a --token-file")
    application = metrics_application(ports, token)
    try:
        listening = scrape_server(options.host, options.port, application)
    except (OSError, OverflowError) as error:
        raise cannot_listen(options.host, options.port, error) from error
    with listening as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print_line(f"metrics are at http://{options.host}:{server.server_port}/metrics", flush=True)
        server.serve_forever(poll_interval=0.2)
    return 0


def scrape_server(host: str, port: int, application: Wsgi) -> WSGIServer:
    """The listening server. Raises ``OSError`` for an address that it cannot have."""
    return make_server(host, port, application, server_class=_ScrapeServer, handler_class=_QuietHandler)


def metrics_application(ports: Ports, token: str | None) -> Wsgi:
    """The WSGI application: ``GET /metrics``, with ``Authorization: Bearer <token>`` if there is a token."""
    from prometheus_client import CollectorRegistry, make_wsgi_app

    from pipelines.observability.collector import InstallationCollector

    registry = CollectorRegistry(auto_describe=False)
    worth = {name: spec.worth for name, spec in ports.catalog.models.items()}
    registry.register(InstallationCollector(ports.ledger, ports.incidents, open_airflow(ports.settings), worth))
    metrics, one_scrape = make_wsgi_app(registry), threading.Lock()

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"there is GET /metrics\n"]
        if token is None and not names_this_machine(environ.get("HTTP_HOST", "localhost")):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"without a token this machine is asked by the name of 127.0.0.1, [::1] or localhost\n"]
        authorization = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")  # WSGI reads bytes so
        if token is not None and not hmac.compare_digest(authorization, f"Bearer {token}".encode()):
            start("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
            return [b"send the token of the exporter as Authorization: Bearer ...\n"]
        with one_scrape:
            answer: Iterable[bytes] = metrics(environ, start)
        return answer

    return application


def open_airflow(settings: Settings, environment: Mapping[str, str] = os.environ) -> Any:
    """The client of Airflow's API: by the account that the environment declares, or as the embedded stack's viewer.

    ``AIRWORTHY_AIRFLOW`` (address), ``AIRWORTHY_AIRFLOW_USER`` and ``AIRWORTHY_AIRFLOW_PASSWORD_FILE`` declare it.
    Returns None if there is neither.
    """
    from pipelines.adapters.airflow_rest import AirflowApi
    from pipelines.cli.components import passwords

    names = ("AIRWORTHY_AIRFLOW", "AIRWORTHY_AIRFLOW_USER", "AIRWORTHY_AIRFLOW_PASSWORD_FILE")
    declared = [environment.get(name) for name in names]
    if all(declared):
        address, user, file = map(str, declared)
        return AirflowApi(address, user, _read_secret(Path(file), "the exporter's password of Airflow"))
    if any(declared):
        missing = ", ".join(name for name, value in zip(names, declared, strict=True) if not value)
        raise Refused(f"the exporter's account of Airflow is not complete; set {missing}")
    known = passwords(settings)
    if READER not in known:
        return None
    return AirflowApi(f"http://127.0.0.1:{embedded_ports(settings.home)['airflow']}", READER, known[READER])


def _read_token(path: Path) -> str:
    token = _read_secret(path, "the exporter's token")
    if len(token) < SHORTEST_TOKEN:
        raise Refused(f"the token in {path} has {len(token)} characters; it needs at least {SHORTEST_TOKEN}")
    return token


def _read_secret(path: Path, what: str) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{what} cannot be read: {error}") from error


class _ScrapeServer(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread of its own, of which there are few."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._open: OrderedDict[int, socket.socket] = OrderedDict()
        super().__init__(*arguments, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open[id(request)] = request
        if len(self._open) > MOST_CONNECTIONS:
            _, oldest = self._open.popitem(last=False)
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(id(request), None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was left, or that sent nothing in time, is no fault of the exporter."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _QuietHandler(WSGIRequestHandler):
    """Writes no line for a scrape, of which there are thousands a day."""

    timeout = IDLE_SECONDS

    def log_request(self, *_: Any) -> None:
        return
