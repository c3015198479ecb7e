"""A client of Airflow's public REST API: it logs in, triggers runs, starts backfills and answers approval requests."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import httpx

from pipelines.errors import Refused, Unavailable


class AirflowApi:
    """A logged-in client. Raises ``Unavailable`` when Airflow does not answer, ``Refused`` on a 4xx answer."""

    def __init__(self, base: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=base, timeout=30)
        self._user, self._password = user, password

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, method: str, path: str, **content: Any) -> Any:
        for attempt in (1, 2):
            if "Authorization" not in self._client.headers:
                token = self._send("POST", "/auth/token", json={"username": self._user, "password": self._password})
                self._client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
            answer = self._send(method, f"/api/v2{path}", refuse=attempt == 2, **content)
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                break
            del self._client.headers["Authorization"]
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, *, refuse: bool = True, **content: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **content)
        except httpx.HTTPError as error:
            raise Unavailable(f"Airflow at {self._client.base_url} does not answer: {error!r}") from error
        if answer.status_code >= 500:
            raise Unavailable(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:300]}")
        if answer.is_client_error and (refuse or answer.status_code != httpx.codes.UNAUTHORIZED):
            raise Refused(f"Airflow refused {method} {path} with {answer.status_code}", [answer.text[:300]])
        return answer

    def dags(self) -> list[dict[str, Any]]:
        """All DAGs that have been parsed, paused ones included."""
        return self._list_all("/dags", "dags", exclude_stale=True)

    def health(self) -> dict[str, Any]:
        """Part of Airflow to its status and its last heartbeat."""
        facts: dict[str, Any] = self._call("GET", "/monitor/health")
        return facts

    def import_errors(self) -> list[dict[str, Any]]:
        return self._list_all("/importErrors", "import_errors")

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})

    def trigger(
        self, dag_id: str, conf: dict[str, Any], *, run_id: str | None = None, partition_key: str | None = None
    ) -> str:
        """Trigger a run manually with the form's values; returns its id."""
        body = {"conf": conf, "logical_date": None} | ({"dag_run_id": run_id} if run_id else {})
        body |= {"partition_key": partition_key} if partition_key else {}
        started: str = self._call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return started

    def backfill(self, dag_id: str, first: date, last: date, *, max_active_runs: int, reprocess: str = "none") -> int:
        """Create one run for each day from ``first`` to ``last``; returns the id of the backfill.

        ``reprocess``: with ``none`` days that have a run are skipped; ``failed`` and ``completed`` run them again.
        """
        body = {
            "dag_id": dag_id,
            "from_date": datetime.combine(first, time(), UTC).isoformat(),
            "to_date": datetime.combine(last, time(), UTC).isoformat(),
            "max_active_runs": max_active_runs,
            "reprocess_behavior": reprocess,
        }
        number: int = self._call("POST", "/backfills", json=body)["id"]
        return number

    def backfills(self, dag_id: str) -> list[dict[str, Any]]:
        return self._list_all("/backfills", "backfills", dag_id=dag_id)

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]:
        """All runs of a DAG, or with ``~`` of all DAGs, newest first."""
        return self._list_all(f"/dags/{dag_id}/dagRuns", "dag_runs", order_by="-run_after", **filters)

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return self._list_all(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances")

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set a task's state to ``failed`` or ``success``, as a person does in the UI."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._call("PATCH", path, json={"new_state": state})

    def unanswered_requests(self, dag_id: str) -> list[dict[str, Any]]:
        """Unanswered human-in-the-loop requests in all runs of a DAG, or with ``~`` of all DAGs."""
        return self._list_all(f"/dags/{dag_id}/dagRuns/~/hitlDetails", "hitl_details", response_received=False)

    def answer_request(self, request: dict[str, Any], option: str, comment: str = "") -> None:
        """Answer a request as the logged-in user. ``Refused`` if it is not assigned to that user."""
        task = request["task_instance"]
        at = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/{task['map_index']}"
        body = {"chosen_options": [option], "params_input": {"comment": comment} if comment else {}}
        self._call("PATCH", f"{at}/hitlDetails", json=body)

    def _list_all(self, path: str, field: str, **parameters: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", path, params=parameters | {"limit": 100, "offset": len(entries)})
            entries += page[field]
            if not page[field] or len(entries) >= page["total_entries"]:
                return entries
