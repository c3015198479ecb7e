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

from pipelines.errors import AirworthyError, Refused, cannot_listen
from pipelines.logs.output import configure
from pipelines.loopback import is_loopback
from pipelines.rollout.transitions import Served
from pipelines.serving import settings
from pipelines.serving.control_plane.admin import Admin
from pipelines.serving.control_plane.admin_access import MIN_TOKEN_LENGTH, AdminAccess
from pipelines.serving.control_plane.supervisor import GatewayOptions, Supervisor
from pipelines.serving.data_plane import jwks
from pipelines.serving.http.listener import ConnectionLimits, ListenerState
from pipelines.serving.http.server import RequestLimits, create_server
from pipelines.serving.http.tls import tls_faults
from pipelines.serving.settings import GatewayConfig
from pipelines.settings import GATEWAY_TOKEN_FILE, read_or_create_secret

ADMIN_CONNECTION_LIMITS = ConnectionLimits(header_bytes=2**14, body_bytes=2**20, request_seconds=10.0, connections=200)
"""Limits of the admin listener."""
TOKEN_VARIABLE = "AIRWORTHY_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable, not a token
ADMIN_TOKEN_BYTES = 32
"""Random bytes of an admin token that is drawn."""
CONFIG_VARIABLE = "AIRWORTHY_GATEWAY_CONFIG"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the gateway's options to a parser."""
    parser.add_argument("--host", default="127.0.0.1", help="address of the public listener")
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--admin-host", default="127.0.0.1", help=f"an address beyond loopback needs {TOKEN_VARIABLE}")
    parser.add_argument("--admin-port", type=int, default=8901)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--state", required=True, help="local folder of this gateway for its state, bundles and log segments"
    )
    parser.add_argument("--store", required=True, help="folder or s3:// URI where predictions/ is written")
    parser.add_argument(
        "--bundles", action="append", metavar="ROOT", help="folder or URL below which bundles lie; default: the store"
    )
    parser.add_argument("--max-rows", type=int, help=f"rows per request; default {RequestLimits().max_rows}")
    parser.add_argument("--max-bytes", type=int, help=f"bytes per request body; default {RequestLimits().max_bytes}")
    parser.add_argument(
        "--config",
        type=Path,
        default=os.environ.get(CONFIG_VARIABLE) or None,
        help=f"declaration of the public listener, such as include/gateway.yaml; default: ${CONFIG_VARIABLE}",
    )
    parser.add_argument(
        "--serve",
        nargs=4,
        metavar=("MODEL", "VERSION", "BUNDLE", "SHA256"),
        help="release this version at start: the gateway is ready once it is live, and exits if it is refused",
    )


def gateway_options(parsed: argparse.Namespace, config: GatewayConfig) -> GatewayOptions:
    """Check the options, which override the declaration. Raises ``Refused`` with every fault of the options."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    limits = RequestLimits(
        _first_not_none(parsed.max_bytes, config.limits.body_bytes, RequestLimits().max_bytes),
        _first_not_none(parsed.max_rows, config.limits.rows, RequestLimits().max_rows),
    )
    counts = {"workers": parsed.workers, "max-rows": limits.max_rows, "max-bytes": limits.max_bytes}
    faults = [f"--{name} is {value}; it must be at least 1" for name, value in counts.items() if value < 1]
    ports = {"port": parsed.port, "admin-port": parsed.admin_port}
    faults += [f"--{name} is {value}; it must be at least 0" for name, value in ports.items() if value < 0]
    if token is None and not is_loopback(parsed.admin_host):
        faults.append(f"--admin-host {parsed.admin_host} is reachable from outside; set {TOKEN_VARIABLE}")
    if token is not None and len(token) < MIN_TOKEN_LENGTH:
        length = f"{TOKEN_VARIABLE} has {len(token)} characters; it needs {MIN_TOKEN_LENGTH}"
        faults.append(f"{length} (`make secrets` draws one)")
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
        limits=limits,
        token=token,
        bundles=tuple(parsed.bundles or [parsed.store, *([parsed.serve[2]] if parsed.serve else [])]),
        serve=Served(*parsed.serve[1:]) if parsed.serve else None,
        model=parsed.serve[0] if parsed.serve else "",
    )


def _first_not_none(*limits: int | None) -> int:
    return next(limit for limit in limits if limit is not None)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that the workers share: when one dies, its pending connections wait for another worker."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise cannot_listen(host, port, error) from error
    listener.listen(2048)
    listener.setblocking(False)
    return listener


async def run(options: GatewayOptions, config: GatewayConfig) -> None:
    """Run one gateway until SIGTERM or SIGINT."""
    supervisor = Supervisor(options)
    folder = settings.write_config(Path(options.state), config)
    public_listener = listen(options.host, options.port)
    admin_listener = listen(options.admin_host, options.admin_port)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopped.set)
    token = options.token or read_or_create_secret(Path(options.state) / GATEWAY_TOKEN_FILE, ADMIN_TOKEN_BYTES)
    access = AdminAccess(token, local_only=is_loopback(options.admin_host))
    server = create_server(Admin(supervisor, access), ListenerState(ADMIN_CONNECTION_LIMITS))
    refreshing = asyncio.create_task(jwks.refresh_key_set(config, folder))
    await supervisor.start(public_listener)
    serving = asyncio.create_task(server.serve(sockets=[admin_listener]))
    host, port = public_listener.getsockname()[:2]
    logging.getLogger("airworthy.gateway").info(
        "serving on %s:%s, admin on %s:%s", host, port, *admin_listener.getsockname()[:2]
    )
    try:
        await supervisor.release_configured_version()
        await stopped.wait()
    finally:
        refreshing.cancel()
        server.should_exit = True
        await serving
        await supervisor.stop()
        public_listener.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.serving", description=__doc__)
    add_options(parser)
    return start(parser.parse_args(arguments))


def start(parsed: argparse.Namespace) -> int:
    """Run the gateway that the options describe; returns its exit status."""
    try:
        configure("gateway")
        config = settings.load_config(parsed.config, parsed.host, max(1, parsed.workers))
        if config.tls is not None and (faults := tls_faults(config.tls)):
            raise Refused(f"the gateway cannot start as {parsed.config} declares it", faults)
        for warning in settings.security_warnings(config):
            logging.getLogger("airworthy.gateway").warning(warning)
        asyncio.run(run(gateway_options(parsed, config), config))
    except AirworthyError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
