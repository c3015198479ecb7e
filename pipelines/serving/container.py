"""`python -m pipelines serve` serves the one version that the environment names, on the platform's port.

The environment names the version: ``AIRWORTHY_SERVE_MODEL``, ``_VERSION``, ``_BUNDLE`` (folder or URI), ``_SHA256``;
``AIRWORTHY_STORE`` is where predictions are logged. Optional are ``AIRWORTHY_SERVE_WORKERS``, ``_ADMIN_PORT``,
``SAGEMAKER_BIND_TO_PORT`` (8080), ``AIRWORTHY_HOME`` and ``AIRWORTHY_GATEWAY_CONFIG``; without a declaration whoever is
let through by the platform may predict.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import AirworthyError, Refused
from pipelines.serving.__main__ import CONFIG, main

NAMED = ("MODEL", "VERSION", "BUNDLE", "SHA256")
DOOR = {"schema": 1, "authentication": {"anonymous": "the platform that runs this container knows its callers"}}


def options(environment: Mapping[str, str]) -> list[str]:
    """The gateway's options. Raises ``Refused`` with every variable that is missing."""
    names = [f"AIRWORTHY_SERVE_{name}" for name in NAMED]
    missing = [name for name in (*names, "AIRWORTHY_STORE") if not environment.get(name)]
    if missing:
        raise Refused("this container cannot serve", [f"{name} is not set" for name in missing])
    state = Path(environment.get("AIRWORTHY_HOME", "var")).resolve() / "gateway"
    declared = environment.get(CONFIG)
    if not declared:
        state.mkdir(parents=True, exist_ok=True)
        declared = str(state / "container.yaml")
        Path(declared).write_text(json.dumps(DOOR))
    arguments = ["--host", "0.0.0.0", "--port", environment.get("SAGEMAKER_BIND_TO_PORT", "8080")]  # noqa: S104 - its purpose
    arguments += ["--admin-port", environment.get("AIRWORTHY_SERVE_ADMIN_PORT", "8901")]
    arguments += ["--workers", environment.get("AIRWORTHY_SERVE_WORKERS", "1"), "--config", declared]
    arguments += ["--state", str(state), "--store", environment["AIRWORTHY_STORE"]]
    return [*arguments, "--serve", *(environment[name] for name in names)]


def serve() -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        arguments = options(os.environ)
    except AirworthyError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return main(arguments)
