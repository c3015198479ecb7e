"""Settings of one installation, read from environment variables, and the git revision of its code."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.errors import Refused

GATEWAY_TOKEN_FILE = "admin_token"  # noqa: S105 - the name of a file, not a token
"""Name of the file in the gateway's state folder that holds the admin listener's token."""
REPOSITORY = Path(__file__).resolve().parent.parent
PREFERRED_PORTS = {"airflow": 8080, "mlflow": 5500, "gateway": 8900, "gateway_admin": 8901, "airflow_logs": 8793}


def embedded_ports(home: Path) -> dict[str, int]:
    """Ports of the embedded stack below ``home``: those chosen at its first start, else the preferred ones."""
    try:
        chosen: dict[str, int] = json.loads((home / "run" / "ports.json").read_text())
    except FileNotFoundError:
        return PREFERRED_PORTS
    return chosen


class Settings(BaseModel):
    """Addresses of the outside services. ``from_environment`` has a default on one machine for every field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    """Folder of everything that the embedded stack writes (``var/`` of the checkout)."""
    include: Path
    """The folder of declarations: models, features, datasets, expectations."""
    store: str
    """Root URI of the store: a folder path or ``s3://bucket/prefix``."""
    store_connection: str | None = None
    """Airflow's amazon connection to an S3 store; None: credentials of the environment (``AWS_*``)."""
    ledger: str
    """SQLAlchemy URL of the ledger."""
    tracking: str
    """MLflow tracking and registry URI."""
    gateway: str
    """Base URL of the gateway's public listener."""
    gateway_admin: str
    """Base URL of the gateway's admin listener (not for callers)."""
    runner: str = "process"
    """Where steps run: ``process`` or ``kubernetes``."""
    defer_pods: bool = True
    """Whether a task is deferred while its pod runs; False if no triggerer runs."""
    installation: str = "airworthy"
    """Name of this installation in a shared cluster, set as a label of its pods."""
    pod_image: str | None = None
    """Default image of steps (the Dockerfile's target ``step``)."""
    pod_namespace: str = "default"
    allow_host_access: bool = False
    """Whether pods may use folders, network, processes or ports of their node, or be privileged."""
    kubernetes_connection: str | None = None
    """Airflow connection to the cluster; None: the pod's own service account, or ``KUBECONFIG``."""
    gpus: int | None = None
    """GPUs that all trainings may use at once; None: the largest number that one model declares."""
    actor: str = "airworthy"
    """Actor in the ledger when no person acts."""

    @property
    def registry_password_file(self) -> Path:
        """The password of ``REGISTRY_USER`` that the embedded registry draws at its first start."""
        return self.home / "mlflow" / "password"

    @property
    def registry_reader_file(self) -> Path:
        """The password of the embedded registry's user ``reader``."""
        return self.home / "mlflow" / "reader_password"

    @property
    def is_registry_embedded(self) -> bool:
        return self.tracking.rstrip("/") == f"http://127.0.0.1:{embedded_ports(self.home)['mlflow']}"

    @property
    def gateway_token_file(self) -> Path:
        """The admin token that the embedded gateway draws at its first start."""
        return self.home / "gateway" / GATEWAY_TOKEN_FILE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``AIRWORTHY_*`` and ``MLFLOW_TRACKING_URI``; missing variables have the embedded default."""
        env = os.environ if environment is None else environment
        home = Path(env.get("AIRWORTHY_HOME", REPOSITORY / "var")).resolve()
        port = embedded_ports(home)
        return cls(
            home=home,
            include=Path(env.get("AIRWORTHY_INCLUDE", REPOSITORY / "include")).resolve(),
            store=env.get("AIRWORTHY_STORE", str(home / "store")),
            store_connection=env.get("AIRWORTHY_STORE_CONNECTION") or None,
            ledger=env.get("AIRWORTHY_LEDGER", f"sqlite:///{home / 'ledger' / 'ledger.db'}"),
            tracking=env.get("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port['mlflow']}"),
            gateway=env.get("AIRWORTHY_GATEWAY", f"http://127.0.0.1:{port['gateway']}"),
            gateway_admin=env.get("AIRWORTHY_GATEWAY_ADMIN", f"http://127.0.0.1:{port['gateway_admin']}"),
            runner=env.get("AIRWORTHY_RUNNER", "process"),
            defer_pods=env.get("AIRWORTHY_DEFER_PODS", "true").lower() not in ("false", "0", "no", "off"),
            installation=env.get("AIRWORTHY_INSTALLATION", "airworthy"),
            pod_image=env.get("AIRWORTHY_POD_IMAGE") or None,
            pod_namespace=env.get("AIRWORTHY_POD_NAMESPACE", "default"),
            allow_host_access=env.get("AIRWORTHY_ALLOW_HOST_ACCESS", "false").lower() in ("true", "1", "yes", "on"),
            kubernetes_connection=env.get("AIRWORTHY_KUBERNETES_CONNECTION") or None,
            gpus=int(env["AIRWORTHY_GPUS"]) if env.get("AIRWORTHY_GPUS") else None,
            actor=env.get("AIRWORTHY_ACTOR", "airworthy"),
        )


def make_private_folder(path: Path) -> None:
    """Make the folder, with those that it lies in, for its owner alone; one that is there keeps its rights."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def read_or_create_secret(path: Path, size: int = 64, text: str = "") -> str:
    """The text of a file for its owner's eyes; if there is none, ``size`` random bytes are drawn into it, once.

    ``text``: what to write instead of random bytes.

    The file appears whole: a process that was killed leaves no empty secret. Raises ``Refused`` for an empty file.
    """
    if not path.exists():
        make_private_folder(path.parent)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text or secrets.token_urlsafe(size))
        with suppress(FileExistsError):  # another process was faster
            path.hardlink_to(partial)
        partial.unlink()
    secret = path.read_text().strip()
    if not secret:
        raise Refused(f"the secret in {path} is empty", ["delete the file; another one is drawn at the next start"])
    return secret


def git_revision(environment: Mapping[str, str] | None = None, folder: Path = REPOSITORY) -> str:
    """``AIRWORTHY_GIT_REVISION`` (an image has no git), else the checkout's commit; ``unknown`` outside of git."""
    if given := (os.environ if environment is None else environment).get("AIRWORTHY_GIT_REVISION"):
        return given
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return completed.stdout.strip() or "unknown"


def let_waiting_threads_sleep() -> None:
    """Make OpenMP's waiting threads sleep; each entry point of a step calls this before a library is loaded.

    OpenMP reads the variable once, when XGBoost or scikit-learn is loaded. Threads that spin while they wait make a
    training ten times as slow on a busy machine; sleeping threads cost nothing on an idle one.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
