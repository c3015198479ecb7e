"""`python -m pipelines.serving` runs the gateway in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from pipelines.errors import AirworthyError, Refused
from pipelines.loopback import is_loopback
from pipelines.rollout.transitions import Served
from pipelines.serving import settings
from pipelines.serving.control_plane.admin import Admin
from pipelines.serving.control_plane.supervisor import GatewayOptions, Supervisor
from pipelines.serving.data_plane import jwks
from pipelines.serving.http import protocol
from pipelines.serving.http.server import RequestLimits, server_of
from pipelines.serving.settings import GatewayConfig

ADMIN = protocol.ConnectionLimits(header_bytes=16 * 1024, body_bytes=1024 * 1024, request_seconds=30.0, connections=200)
"""Limits of the admin listener."""
TOKEN = "AIRWORTHY_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable, not a token
CONFIG = "AIRWORTHY_GATEWAY_CONFIG"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the gateway's options to a parser."""
    parser.add_argument("--host", default="127.0.0.1", help="address of the public listener")
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument(
        "--admin-host", default="127.0.0.1", help=f"beyond loopback it needs {TOKEN} in the environment"
    )
    parser.add_argument("--admin-port", type=int, default=8901)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--state", required=True, help="local folder of the gateway's own: state, bundles, log segments"
    )
    parser.add_argument("--store", required=True, help="folder or s3:// URI where predictions/ is written")
    parser.add_argument("--max-rows", type=int, help=f"rows per request; {RequestLimits().max_rows} if nobody says")
    parser.add_argument(
        "--max-bytes", type=int, help=f"bytes per request body; {RequestLimits().max_bytes} if nobody says"
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=os.environ.get(CONFIG) or None,
        help=f"declaration of the public listener, such as include/gateway.yaml; else what {CONFIG} names",
    )
    parser.add_argument(
        "--serve",
        nargs=4,
        metavar=("MODEL", "VERSION", "BUNDLE", "SHA256"),
        help="a version to serve from the start: not ready before it is live, ended if it is refused",
    )


def config(parsed: argparse.Namespace, door: GatewayConfig) -> GatewayOptions:
    """Check the options, which go before the declaration. ``Refused`` lists everything wrong with them."""
    token = os.environ.get(TOKEN) or None
    sizes = RequestLimits(
        _first(parsed.max_bytes, door.limits.body_bytes, RequestLimits().max_bytes),
        _first(parsed.max_rows, door.limits.rows, RequestLimits().max_rows),
    )
    least = {"workers": parsed.workers, "max-rows": sizes.max_rows, "max-bytes": sizes.max_bytes}
    faults = [f"--{name} is {value}; it must be at least 1" for name, value in least.items() if value < 1]
    ports = {"port": parsed.port, "admin-port": parsed.admin_port}
    faults += [f"--{name} is {value}; it must be at least 0" for name, value in ports.items() if value < 0]
    if token is None and not is_loopback(parsed.admin_host):
        faults.append(f"--admin-host {parsed.admin_host} is reachable from outside; set {TOKEN}")
    if faults:
        raise Refused("the gateway cannot start", faults)
    return GatewayOptions(
        host=parsed.host,
        port=parsed.port,
        admin_host=parsed.admin_host,
        admin_port=parsed.admin_port,
        workers=parsed.workers,
        state=parsed.state,
        store=parsed.store,
        sizes=sizes,
        token=token,
        serve=Served(*parsed.serve[1:]) if parsed.serve else None,
        model=parsed.serve[0] if parsed.serve else "",
    )


def _first(*given: int | None) -> int:
    return next(limit for limit in given if limit is not None)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that worker processes share: connections of a dead worker wait for the next one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Refused(f"{host}:{port} cannot be listened on: {error.strerror}; free it or take another") from error
    listener.listen(2048)
    listener.setblocking(False)
    return listener


async def run(how: GatewayOptions, door: GatewayConfig) -> None:
    """Run one gateway until it is told to stop."""
    supervisor = Supervisor(how)
    folder = settings.write(Path(how.state), door)
    public = listen(how.host, how.port)
    private = listen(how.admin_host, how.admin_port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = server_of(Admin(supervisor, how.token), protocol.ListenerState(ADMIN))
    fetching = asyncio.create_task(jwks.keep_fresh(door, folder))
    await supervisor.start(public)
    serving = asyncio.create_task(server.serve(sockets=[private]))
    host, port = public.getsockname()[:2]
    logging.getLogger("airworthy.gateway").info(
        "serving on %s:%s, admin on %s:%s", host, port, *private.getsockname()[:2]
    )
    try:
        await supervisor.serve_declared()
        await stopped.wait()
    finally:
        fetching.cancel()
        server.should_exit = True
        await serving
        await supervisor.stop()
        public.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.serving", description=__doc__)
    options(parser)
    return start(parser.parse_args(arguments))


def start(parsed: argparse.Namespace) -> int:
    """Run the gateway that the options describe; returns its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        door = settings.declared(parsed.config, parsed.host, max(1, parsed.workers))
        for note in settings.notes(door):
            logging.getLogger("airworthy.gateway").warning(note)
        asyncio.run(run(config(parsed, door), door))
    except AirworthyError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
