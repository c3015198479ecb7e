"""`airworthy gateway` runs the gateway of this installation in the foreground."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlsplit

from pipelines.cli import arguments
from pipelines.ports import Ports


def add_parser(subparsers: Any) -> None:
    command = subparsers.add_parser("gateway", help="run the serving gateway in the foreground")
    command.add_argument("--workers", type=arguments.count, default=1, help="data worker processes")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, ports: Ports) -> int:
    """Serve where the installation's settings say, until SIGTERM or SIGINT; returns the gateway's exit status."""
    from pipelines.cli.components import gateway_config_option
    from pipelines.serving.__main__ import main

    settings = ports.settings
    public, private = urlsplit(settings.gateway), urlsplit(settings.gateway_admin)
    return main(
        ["--host", public.hostname or "127.0.0.1", "--port", str(public.port or 8900)]
        + ["--admin-host", private.hostname or "127.0.0.1", "--admin-port", str(private.port or 8901)]
        + ["--workers", str(options.workers), "--state", str(settings.home / "gateway"), "--store", settings.store]
        + gateway_config_option(settings)
    )
