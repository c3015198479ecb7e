"""`python -m pipelines.serving` runs the gateway in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys

from pipelines.errors import AirworthyError, Refused
from pipelines.serving.admin import Admin
from pipelines.serving.supervisor import Config, Supervisor
from pipelines.serving.worker import Limits, server_of

TOKEN = "AIRWORTHY_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable, not a token


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
    parser.add_argument("--max-rows", type=int, default=Limits().max_rows, help="rows per request")
    parser.add_argument("--max-bytes", type=int, default=Limits().max_bytes, help="bytes per request body")


def config(parsed: argparse.Namespace) -> Config:
    """Check the options. ``Refused`` lists everything wrong with them."""
    token = os.environ.get(TOKEN) or None
    faults = [
        f"--{name.replace('_', '-')} is {getattr(parsed, name)}; it must be at least {least}"
        for name, least in (("workers", 1), ("max_rows", 1), ("max_bytes", 1), ("port", 0), ("admin_port", 0))
        if getattr(parsed, name) < least
    ]
    if token is None and not _is_loopback(parsed.admin_host):
        faults.append(f"--admin-host {parsed.admin_host} is reachable from outside; set {TOKEN}")
    if faults:
        raise Refused("the gateway cannot start", faults)
    return Config(
        host=parsed.host,
        port=parsed.port,
        admin_host=parsed.admin_host,
        admin_port=parsed.admin_port,
        workers=parsed.workers,
        state=parsed.state,
        store=parsed.store,
        limits=Limits(parsed.max_bytes, parsed.max_rows),
        token=token,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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


async def run(settings: Config) -> None:
    """Run one gateway until it is told to stop."""
    supervisor = Supervisor(settings)
    public = listen(settings.host, settings.port)
    private = listen(settings.admin_host, settings.admin_port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = server_of(Admin(supervisor, settings.token))
    await supervisor.start(public)
    serving = asyncio.create_task(server.serve(sockets=[private]))
    host, port = public.getsockname()[:2]
    logging.getLogger("airworthy.gateway").info(
        "serving on %s:%s, admin on %s:%s", host, port, *private.getsockname()[:2]
    )
    await stopped.wait()
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
        asyncio.run(run(config(parsed)))
    except AirworthyError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
