"""Buttons on a task's page that lead to its report, its pictures or its MLflow page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from pipelines.mlflow_client import page_address

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

STORE_PAGES = "/airworthy/store/"
"""Where the plugin ``stored_reports`` shows files of the store."""


class TaskLink(BaseOperatorLink):
    """A button that is shown if the task called ``show``; ``key`` is a stored name, ``label`` is what people read."""

    def __init__(self, key: str, label: str) -> None:
        self.key, self.label = key, label

    @property
    def name(self) -> str:
        return self.label

    @property
    def xcom_key(self) -> str:
        return f"_link_{self.key}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Called by Airflow when a try has ended; empty: no button."""
        return str(vars(operator).get("link_addresses", {}).get(self.key, ""))

    def show(self, operator: BaseOperator, address: str | None) -> None:
        """Show the button with this address; None or an empty one shows none."""
        addresses: dict[str, str] = vars(operator).setdefault("link_addresses", {})
        addresses[self.key] = address or ""


VALIDATION_REPORT = TaskLink("validation_report", "Validation report")
DRIFT_REPORT = TaskLink("drift_report", "Drift report")
LIVE_INPUT_REPORT = TaskLink("live_input_report", "Live inputs report")
LOAD_TEST = TaskLink("load_test", "Load test")
ROLLOUT_PICTURES = TaskLink("rollout_pictures", "Rollout pictures")
EVALUATION_PICTURES = TaskLink("evaluation_pictures", "Evaluation pictures")
MLFLOW_RUN = TaskLink("mlflow_run", "MLflow run")
MLFLOW_VERSION = TaskLink("mlflow_version", "MLflow version")
STARTED_RUN = TaskLink("started_run", "Started run")


def stored_page(path: str) -> str:
    """Address of a file of the store; of a folder (ending with a slash) it shows the pictures in it."""
    return f"{airflow_address()}{STORE_PAGES}{quote(path)}"


def run_page(dag_id: str, run_id: str) -> str:
    """Address of a run in Airflow."""
    return f"{airflow_address()}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"


def mlflow_page(tracking: str, *parts: str) -> str | None:
    """Address of a page of MLflow such as ``runs/<id>``; None where no server has any."""
    if not tracking.startswith(("http://", "https://")):
        return None
    page = "/".join(quote(part, safe="") for part in parts)
    return f"{page_address(tracking, page)}?workflowType=machine_learning"  # else it opens for language models


def airflow_address() -> str:
    """Airflow's own address, without a slash at its end; empty: a path of the same server."""
    from airflow.sdk.configuration import conf

    address: Any = conf.get("api", "base_url", fallback="")
    return str(address or "").rstrip("/")
