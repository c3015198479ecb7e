"""The processes of the embedded stack, in the order of starting, with their commands, ports and environment."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.mlflow_client import REGISTRY_USER
from pipelines.settings import (
    PREFERRED_PORTS,
    REPOSITORY,
    Settings,
    embedded_ports,
    git_revision,
    read_or_create_secret,
)
from pipelines.spec.catalog import Catalog

AIRFLOW_USERS = {"admin": "admin", "ml_lead": "user", "second_lead": "user", "compliance": "user", "viewer": "viewer"}
"""Log-in name to Airflow role, ``user`` being the least that can answer a request for approval; passwords are generated
at the first start, in ``var/airflow``."""


@dataclass(frozen=True)
class Component:
    """One process. ``health`` is a URL that answers 200 once it is ready; None: it only has to be alive.

    ``secrets``: variables that this process alone gets, each with the file that holds its value, drawn where it is
    missing. ``configuration``: variables with the path of a file and its text, written at each start.
    """

    name: str
    command: list[str]
    health: str | None = None
    secrets: Mapping[str, Path] = field(default_factory=dict)
    configuration: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    listens: tuple[int, ...] = ()
    """Ports of this machine without which it does not start."""

    def environment(self) -> dict[str, str]:
        """What this process has beside the environment of all; writes the files that are missing."""
        for path, text in self.configuration.values():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(text)
        drawn = {name: read_or_create_secret(path, 24) for name, path in self.secrets.items()}
        return drawn | {name: str(path) for name, (path, _) in self.configuration.items()}


def program_path(name: str) -> str:
    """The program of that name beside the running interpreter."""
    return str(Path(sys.executable).with_name(name))


def ports(settings: Settings) -> dict[str, int]:
    """Ports of this installation: the preferred ones where free at the first start, the same ones from then on."""
    path = settings.home / "run" / "ports.json"
    if path.exists():
        return embedded_ports(settings.home)
    taken: set[int] = set()
    chosen = {name: _free_port(port, taken) for name, port in PREFERRED_PORTS.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(chosen))
    return chosen


def is_taken(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port(port: int, taken: set[int]) -> int:
    for candidate in range(port, port + 200):
        if candidate not in taken and not is_taken(candidate):
            taken.add(candidate)
            return candidate
    raise OSError(f"no free port between {port} and {port + 199}")


def environment(settings: Settings) -> dict[str, str]:
    """Environment of every component: the installation's places and Airflow's settings for one small machine."""
    port = ports(settings)
    home = settings.home / "airflow"
    keys = home / "keys"
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "AIRWORTHY_HOME": str(settings.home),
        "AIRWORTHY_INCLUDE": str(settings.include),
        "AIRWORTHY_STORE": settings.store,
        "AIRWORTHY_LEDGER": settings.ledger,
        "AIRWORTHY_GATEWAY": f"http://127.0.0.1:{port['gateway']}",
        "AIRWORTHY_GATEWAY_ADMIN": f"http://127.0.0.1:{port['gateway_admin']}",
        "AIRWORTHY_GIT_REVISION": git_revision({}),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port['mlflow']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Jobs of MLflow that nothing here uses: eight processes, 12 s of CPU at each start, 1.2 GB of memory.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Threads that spin while they wait take CPU time from other processes on a small machine.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONWARNINGS": quiet_warnings(os.environ.get("PYTHONWARNINGS", "")),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port['airflow']}/execution/",
        # Four slots feed two cores: the default of 32 would hold a gigabyte in idle workers.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__FERNET_KEY": read_or_create_secret(keys / "fernet", 32) + "=",  # base64, padded
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in AIRFLOW_USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(settings)),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port["airflow"]),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port['airflow']}",
        "AIRFLOW__API__SECRET_KEY": read_or_create_secret(keys / "api"),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": read_or_create_secret(keys / "jwt"),
        # Seconds that a process waits for another's write lock; a busy scheduler holds it longer than 5, the default.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.home / "logs" / "airflow"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(port["airflow_logs"]),
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        # A hop from task to task waits for the scheduler's loop: the default of 1 s would be most of its cost.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.15",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # What a killed scheduler or task was doing is resumed within a minute, not after five.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def quiet_warnings(declared: str) -> str:
    """``PYTHONWARNINGS`` that leave out one of Airflow's: it is about Airflow's own code and fills every log.

    Airflow reads `.airflowignore` by a class of pathspec that is deprecated.
    """
    return ",".join(filter(None, [declared, "ignore:GitWildMatchPattern:DeprecationWarning"]))


def passwords_file(settings: Settings) -> Path:
    return settings.home / "airflow" / "simple_auth_manager_passwords.json.generated"


def gateway_config_option(settings: Settings) -> list[str]:
    """The gateway's option that names ``gateway.yaml``, unless the environment names one or there is none."""
    declared = settings.include / "gateway.yaml"
    return ["--config", str(declared)] if declared.exists() and not os.environ.get("AIRWORTHY_GATEWAY_CONFIG") else []


def gateway_workers(settings: Settings) -> int:
    """The largest ``deployment.resources.replicas`` of the models that the gateway serves."""
    models = Catalog.read(settings.include).models.values()
    served_here = [model.deployment for model in models if model.deployment.target.kind == "embedded"]
    return max((deployment.resources.replicas for deployment in served_here), default=1)


def components(settings: Settings) -> list[Component]:
    """All processes in the order of starting."""
    port = ports(settings)
    home = settings.home
    mlflow = home / "mlflow"
    gateway = f"http://127.0.0.1:{port['gateway']}"
    store = f"sqlite:///{mlflow / 'mlflow.db'}"
    return [
        Component(
            "mlflow",
            [program_path("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port["mlflow"]), "--workers", "1"]
            + ["--app-name", "basic-auth"]
            + ["--backend-store-uri", store, "--artifacts-destination", str(mlflow / "artifacts")],
            f"http://127.0.0.1:{port['mlflow']}/health",
            {
                "MLFLOW_AUTH_ADMIN_PASSWORD": settings.registry_password_file,
                "MLFLOW_FLASK_SERVER_SECRET_KEY": mlflow / "flask_key",
            },
            {"MLFLOW_AUTH_CONFIG_PATH": (mlflow / "auth.ini", registry_users(mlflow / "auth.db"))},
            listens=(port["mlflow"],),
        ),
        Component(
            "gateway",
            [sys.executable, "-m", "pipelines.serving", "--host", "127.0.0.1", "--port", str(port["gateway"])]
            + ["--admin-port", str(port["gateway_admin"]), "--workers", str(gateway_workers(settings))]
            + ["--state", str(home / "gateway"), "--store", settings.store]
            + gateway_config_option(settings),
            f"{gateway}/health",
            listens=(port["gateway"], port["gateway_admin"]),
        ),
        Component(
            "api-server",
            [program_path("airflow"), "api-server"],
            f"http://127.0.0.1:{port['airflow']}/api/v2/version",
            listens=(port["airflow"],),
        ),
        Component("scheduler", [program_path("airflow"), "scheduler"]),
        Component("dag-processor", [program_path("airflow"), "dag-processor"]),
        Component("triggerer", [program_path("airflow"), "triggerer", "--skip-serve-logs"]),
        Component("watch", [program_path("airworthy"), "watch"]),
    ]


def registry_users(database: Path) -> str:
    """Configuration of MLflow's log-in: whoever is known may read; passwords are compared once a minute."""
    address = f"sqlite:///{database}".replace("%", "%%")
    return (
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {address}\n"
        f"admin_username = {REGISTRY_USER}\n"
        "auth_cache_ttl_seconds = 60\n"
    )


def draw_passwords(settings: Settings) -> None:
    """Write a password for each user that has none, for its owner's eyes: Airflow would draw them into its log."""
    path = passwords_file(settings)
    drawn = {user: secrets.token_urlsafe(12) for user in AIRFLOW_USERS} | dict(passwords(settings))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(drawn) + "\n")


def passwords(settings: Settings) -> Mapping[str, str]:
    """Log-in name to password; empty before the first start."""
    path = passwords_file(settings)
    return json.loads(path.read_text()) if path.exists() else {}
