"""Make the pictures of the documentation again, from the stack that `make demo` leaves running.

Pages are taken by Chromium, and what the product drew is copied from its store; names of pictures as arguments choose
some of them. A picture whose page is not there yet (no request for approval, no rollout) stays as it is, and is named.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli.components import passwords
from pipelines.cli.components import ports as stack_ports
from pipelines.settings import REPOSITORY, Settings
from pipelines.wiring import RealPorts, open_ports
from tests.pictures.browser import Page, browser

IMAGES = REPOSITORY / "docs" / "images"
MODEL, DATASET = "flight_delay", "flights"


class Pictures:
    """The stack of a demonstration, and a browser that is logged in."""

    def __init__(self, ports: RealPorts, page: Page) -> None:
        self.ports, self.page = ports, page
        self.base = f"http://127.0.0.1:{stack_ports(ports.settings)['airflow']}"
        self.airflow = AirflowApi(self.base, "admin", passwords(ports.settings)["admin"])
        self.airflow.dags()  # logs in
        token = self.airflow._client.headers["Authorization"].removeprefix("Bearer ")
        page.set_cookie("_token", token, self.base)

    def close(self) -> None:
        self.airflow.close()
        self.ports.endpoint.close()

    def newest_run(self, stage: str, task: str, states: tuple[str, ...]) -> str | None:
        """The newest run of a stage in which a task is in one of the states."""
        for run in self.airflow.runs(f"{MODEL}__{stage}"):
            tasks = self.airflow.tasks(f"{MODEL}__{stage}", run["dag_run_id"])
            if any(each["task_id"] == task and each["state"] in states for each in tasks):
                return str(run["dag_run_id"])
        return None

    def take(self, name: str, path: str, text: str, size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> None:
        """Show a page in a window of this size, and keep what lies to the right of and below the corner."""
        self.page.resize(*size)
        self.page.show(f"{self.base}{path}", text)
        self.page.picture(IMAGES / name, corner, size)

    def approval(self) -> bool:
        """The form of a request, answered or not."""
        run = self.newest_run("deploy", "request_approvals", ("success", "awaiting_input", "deferred"))
        if run is None:
            return False
        path = f"/dags/{MODEL}__deploy/runs/{quote(run, safe='')}/tasks/request_approvals/mapped/0/required_actions"
        self.take("airflow-approval.png", path, "model digest", (1360, 1180), corner=(345, 62))
        return True

    def grid(self, name: str, stage: str) -> bool:
        """The page of a stage."""
        self.take(name, f"/dags/{MODEL}__{stage}", f"{stage}", (1440, 700))
        return True

    def gates(self) -> bool:
        """The graph, which Airflow shows where a person has chosen it before."""
        self.page.evaluate("localStorage.setItem('default_dag_view', '\"graph\"')")
        self.grid("airflow-gates.png", "evaluate")
        self.page.evaluate("localStorage.removeItem('default_dag_view')")
        return True

    def report(self) -> bool:
        """The newest report with a row in quarantine."""
        for path in sorted(self.ports.store.list(f"reports/validation/{DATASET}/"), reverse=True):
            if b"rows in quarantine" in self.ports.store.get(path):
                self.take("validation-report.png", f"/airworthy/store/{path}", "quarantined", (1200, 560))
                return True
        return False

    def copied(self, name: str, path: str | None) -> bool:
        """A picture of the store."""
        if path is None or not self.ports.store.exists(path):
            return False
        (IMAGES / name).write_bytes(self.ports.store.get(path))
        return True

    def newest(self, folder: str, name: str) -> str | None:
        """The newest file of this name in the folders of a model's rollouts or evaluations."""
        stamps = self.ports.store.stamps(folder)
        files = [path for path in stamps if path.endswith(f"/{name}")]
        return max(files, key=lambda path: stamps[path].written, default=None)

    def rollout(self) -> bool:
        drawn = Path(self.ports.settings.home) / "rollout" / "rollout.png"
        if drawn.exists():
            shutil.copy(drawn, IMAGES / "rollout.png")
        return drawn.exists()


def main(names: Sequence[str]) -> int:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("no browser is installed; on Debian: apt-get install chromium")
        return 1
    with tempfile.TemporaryDirectory() as profile, browser(program, Path(profile)) as page:
        pictures = Pictures(open_ports(Settings.from_environment()), page)
        tasks: dict[str, Callable[[], bool]] = {
            "airflow-approval.png": pictures.approval,
            "airflow-deploy.png": lambda: pictures.grid("airflow-deploy.png", "deploy"),
            "airflow-monitor.png": lambda: pictures.grid("airflow-monitor.png", "monitor"),
            "airflow-gates.png": pictures.gates,
            "validation-report.png": pictures.report,
            "roc.png": lambda: pictures.copied("roc.png", pictures.newest(f"reports/evaluation/{MODEL}/", "roc.png")),
            "shadow.png": lambda: pictures.copied("shadow.png", pictures.newest(f"rollouts/{MODEL}/", "shadow.png")),
            "rollout.png": pictures.rollout,
        }
        missing = [name for name, take in tasks.items() if name in (names or tasks) and not take()]
        pictures.close()
    for name in missing:
        print(f"docs/images/{name} stays as it is: the stack has nothing to show there")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
