"""Raises the errors of a Kubernetes client as ``Refused`` or ``Unavailable``, with a hint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import Refused, Unavailable

API_TIMEOUT = (5, 30)
"""Seconds to connect and to answer."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Exists in every pod that has a service account token."""
FINAL_STATUSES = {400, 401, 403, 404, 405, 422}
"""HTTP statuses that a retry would get again."""


@contextmanager
def translate_errors(action: str) -> Iterator[None]:
    """Translate the client's errors; ``action`` begins the message (``creating pod p in namespace n``)."""
    from airflow.sdk.exceptions import AirflowNotFoundException
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        message = f"{action}: the API server answered {error.status} {_message(error)}"
        if error.status in FINAL_STATUSES and "exceeded quota" not in message:
            raise Refused(message, _hints(error.status)) from error
        raise Unavailable(message) from error
    except (HTTPError, OSError) as error:
        raise Unavailable(f"{action}: the cluster does not answer ({type(error).__name__}: {error})") from error
    except (ConfigException, AirflowNotFoundException) as error:
        hint = "set AIRWORTHY_KUBERNETES_CONNECTION to an Airflow connection, or KUBECONFIG, or run in the cluster"
        raise Refused(f"no Kubernetes cluster is configured: {error}", [hint]) from error


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _hints(status: int) -> list[str]:
    if status in (401, 403):
        return ["give Airflow's service account the role of docs/run-on-kubernetes.md"]
    return ["correct the stage's runner, the pod template or AIRWORTHY_POD_NAMESPACE"]
