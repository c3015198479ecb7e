"""Opens MLflow's client with short timeouts and translates its errors into ``Refused`` or ``Unavailable``."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import AirworthyError, Refused, Unavailable

CLIENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Timeouts of seconds, because Airflow's task retries wait out an outage."""
REFUSED_ERROR_CODES = {
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "BAD_REQUEST",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "ENDPOINT_NOT_FOUND",
    "NOT_FOUND",
}
"""MLflow's error codes that a retry would get again."""

REGISTRY_USER = "airworthy"
"""Name under which tasks and commands log in to the embedded registry; it may change everything there."""
AUTH_PROVIDER = "airworthy"
PASSWORD_FILES: dict[str, Path] = {}
"""Address of an embedded registry to the file with the password of ``REGISTRY_USER``."""

METRIC_GROUPS = ("champion_test", "cv", "test", "train", "validation")
"""Groups in which MLflow shows metrics: ``test_roc_auc`` is stored there as ``test/roc_auc``."""
TRAINING_METRICS = ("rounds", "best_round", "learning_rate")
MODEL_TRAINING_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tags of an experiment by which MLflow opens it for model training, and not for language models."""


def grouped_metric(name: str) -> str:
    """The name of a metric in MLflow, whose page shows what precedes the slash as a group."""
    if name in TRAINING_METRICS:
        return f"training/{name}"
    group = next((group for group in METRIC_GROUPS if name.startswith(f"{group}_")), None)
    return name if group is None or "/" in name else f"{group}/{name.removeprefix(f'{group}_')}"


def plain_metric(name: str) -> str:
    """The name by which everything else knows a metric; versions from before 0.2.0 have it in MLflow, too."""
    group, _, rest = name.partition("/")
    if group == "training":
        return rest
    return f"{group}_{rest}" if group in METRIC_GROUPS and rest else name


def open_client(uri: str) -> Any:
    """An ``MlflowClient`` of this server or database, for tracking and registry.

    Sets ``CLIENT_DEFAULTS`` in this process's environment where they are not set.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    with translate_mlflow_errors(uri):
        from mlflow import MlflowClient

        if uri.rstrip("/") in PASSWORD_FILES:
            _register_logins()
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def add_login(request: Any) -> Any:
    """Add the log-in to a request of MLflow's client, if it goes to an embedded registry of this installation.

    Another server gets what ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD`` say.
    """
    scheme, _, rest = request.url.partition("://")
    if login := _embedded_login(f"{scheme}://{rest.partition('/')[0]}"):
        request.headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
    return request


def registry_login(uri: str) -> tuple[str, str] | None:
    """Name and password for this server; None where none is known."""
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    return _embedded_login(uri.rstrip("/")) or ((name, password) if name and password else None)


def _embedded_login(address: str) -> tuple[str, str] | None:
    file = PASSWORD_FILES.get(address)
    return (REGISTRY_USER, file.read_text().strip()) if file is not None and file.exists() else None


@cache
def _register_logins() -> None:
    """Let MLflow's client call ``add_login``, so that no password is in the environment, which children inherit."""
    from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
    from mlflow.tracking.request_auth.registry import _request_auth_provider_registry

    class PasswordFiles(RequestAuthProvider):
        def get_name(self) -> str:
            return AUTH_PROVIDER

        def get_auth(self) -> Any:
            return add_login

    register: Any = _request_auth_provider_registry.register
    register(PasswordFiles)
    os.environ.setdefault("MLFLOW_TRACKING_AUTH", AUTH_PROVIDER)


@contextmanager
def translate_mlflow_errors(uri: str) -> Iterator[None]:
    """Translate MLflow's errors inside the block into ``Unavailable`` or ``Refused``."""
    try:
        yield
    except AirworthyError:
        raise
    except Exception as error:
        raise _translate_error(uri, error) from error


def fetch_model(client: Any, source: str, folder: Path) -> Path:
    """Copy a registered model's folder (``source`` of its version) below ``folder``; returns the copy's path."""
    uri = str(client.tracking_uri)
    with translate_mlflow_errors(uri):
        from mlflow.artifacts import download_artifacts

        if source.startswith("models:/"):
            source = client.get_logged_model(source.removeprefix("models:/").strip("/")).artifact_location
        return Path(download_artifacts(source, dst_path=str(folder), tracking_uri=uri, registry_uri=uri))


def page_address(uri: str, page: str) -> str:
    """Address of a page of the server, as people are shown it: without name and password."""
    scheme, _, rest = uri.rstrip("/").partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}/#/{page}"


def keeps_artifacts_locally(uri: str) -> bool:
    """True for a database without a server: artifacts are then stored in a folder that the caller names."""
    return not uri.startswith(("http://", "https://"))


def _translate_error(uri: str, error: Exception) -> AirworthyError | Exception:
    import requests
    from mlflow.exceptions import MlflowException

    text = " ".join(str(_cause(error)).split())[:500]
    if isinstance(error, MlflowException) and error.error_code in REFUSED_ERROR_CODES:
        return Refused(f"MLflow at {uri} refused", [text])
    if isinstance(error, MlflowException | requests.RequestException | OSError) or _is_database_error(error):
        return Unavailable(f"MLflow at {uri} did not answer: {text}")
    return error


def _cause(error: BaseException) -> BaseException:
    """The innermost cause if no connection was made, because the wrapping errors only repeat it at length."""
    import requests

    unconnected, cause = isinstance(error, requests.ConnectionError), error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        unconnected, cause = unconnected or isinstance(inner, requests.ConnectionError), inner
    return cause if unconnected else error


def _is_database_error(error: Exception) -> bool:
    return type(error).__module__.startswith("sqlalchemy.")
