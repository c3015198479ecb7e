"""`python -m pipelines serve` serves the one version that the environment names, on the port that the platform sets.

The environment names the version: ``AIRWORTHY_SERVE_MODEL``, ``_VERSION``, ``_BUNDLE`` (folder or URI), ``_SHA256``;
``AIRWORTHY_STORE`` is where predictions are logged. Optional are ``AIRWORTHY_SERVE_WORKERS``, ``_ADMIN_PORT``,
``_HOST``, ``SAGEMAKER_BIND_TO_PORT`` (8080), ``AIRWORTHY_HOME`` and ``AIRWORTHY_GATEWAY_CONFIG``. It listens on
loopback unless the host is named, or the bundle lies where SageMaker alone puts it. There, without a declaration,
everyone whom the platform lets through may predict; elsewhere an address that others reach needs a declaration.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import AirworthyError, Refused
from pipelines.serving.__main__ import CONFIG_VARIABLE, main

SERVE_VARIABLES = ("MODEL", "VERSION", "BUNDLE", "SHA256")
SAGEMAKER_MODEL_FOLDER = Path("/opt/ml/model")
"""Where SageMaker puts the files of the model."""
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 # nosec B104 - SageMaker reaches its containers by their network
ANONYMOUS_CONFIG = {"schema": 1, "authentication": {"anonymous": "the container's platform authenticates its callers"}}


def gateway_arguments(environment: Mapping[str, str]) -> list[str]:
    """Command-line arguments of the gateway. Raises ``Refused`` with every variable that is missing."""
    names = [f"AIRWORTHY_SERVE_{name}" for name in SERVE_VARIABLES]
    missing = [name for name in (*names, "AIRWORTHY_STORE") if not environment.get(name)]
    if missing:
        raise Refused("this container cannot serve", [f"{name} is not set" for name in missing])
    state = Path(environment.get("AIRWORTHY_HOME", "var")).resolve() / "gateway"
    config_path = environment.get(CONFIG_VARIABLE)
    on_sagemaker = Path(environment["AIRWORTHY_SERVE_BUNDLE"]) == SAGEMAKER_MODEL_FOLDER
    host = environment.get("AIRWORTHY_SERVE_HOST") or (EVERY_ADDRESS if on_sagemaker else "127.0.0.1")
    if not config_path and on_sagemaker:
        state.mkdir(parents=True, exist_ok=True)
        config_path = str(state / "container.yaml")
        Path(config_path).write_text(json.dumps(ANONYMOUS_CONFIG))
    arguments = ["--host", host, "--port", environment.get("SAGEMAKER_BIND_TO_PORT", "8080")]
    arguments += ["--admin-port", environment.get("AIRWORTHY_SERVE_ADMIN_PORT", "8901")]
    arguments += ["--workers", environment.get("AIRWORTHY_SERVE_WORKERS", "1")]
    arguments += ["--config", config_path] if config_path else []
    arguments += ["--state", str(state), "--store", environment["AIRWORTHY_STORE"]]
    return [*arguments, "--serve", *(environment[name] for name in names)]


def serve() -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        arguments = gateway_arguments(os.environ)
    except AirworthyError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return main(arguments)
