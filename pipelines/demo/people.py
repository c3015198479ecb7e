"""The people of the demonstration act through Airflow's API: a lead trains, and others approve what she trained."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli.components import passwords, passwords_file, ports
from pipelines.cli.progress import Progress
from pipelines.settings import Settings

AWAITING_INPUT = "awaiting_input"
ANSWER_DELAY_SECONDS = 4.0
"""Age of a request before it is answered: Airflow repeats one that was answered before its task was deferred."""
ANSWER_COMMENT = "Seen in the demonstration."


TRAINER = "ml_lead"
"""Who trains: an approver, too, so that another lead has to approve."""


class DemoUsers:
    """The users of the embedded stack; each acts with its own password, from ``var/airflow``."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        base = f"http://127.0.0.1:{ports(settings)['airflow']}"
        self._clients = {user: AirflowApi(base, user, password) for user, password in passwords(settings).items()}
        self._progress = progress
        self._file = passwords_file(settings)
        self._hint_shown = False

    def close(self) -> None:
        """Close their connections."""
        for user in self._clients.values():
            user.close()

    def train(self, model: str, conf: dict[str, str]) -> str:
        """Start a training as ``TRAINER``; returns the id of the run."""
        run = self._clients[TRAINER].trigger(f"{model}__train", conf)
        self._progress.print_note(f"{TRAINER} trains {model}, and so may not approve the version")
        return run

    def answer(self, dag_id: str) -> int:
        """Approve the pending requests of this DAG's runs; returns the number of answers."""
        given = 0
        for question in self._clients["admin"].unanswered_requests(dag_id):
            age = datetime.now(UTC) - datetime.fromisoformat(question["created_at"])
            if question["task_instance"]["state"] != AWAITING_INPUT or age.total_seconds() < ANSWER_DELAY_SECONDS:
                continue
            assigned = [user["id"] for user in question["assigned_users"]]
            approver = next((user for user in assigned if user in self._clients), None)
            if approver is None:
                continue
            self._clients[approver].answer_request(question, "Approve", ANSWER_COMMENT)
            self._progress.print_note(f"{question['subject']}  approved by {approver}")
            given += 1
        if given and not self._hint_shown:
            self._hint_shown = True
            self._progress.print_note(f"(you can answer such requests yourself: the passwords are in {self._file})")
        return given
