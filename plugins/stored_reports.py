"""Shows reports and pictures of the store to logged-in users of Airflow, below ``/airworthy/store/``.

The pages are what the links of tasks lead to. Only reports and pictures are shown, each to those who may see a DAG of
its dataset or model. A report is HTML that quotes data from outside: the browser gives it an origin of its own, so its
scripts reach neither Airflow's session nor the network. The app exists in the API server alone; no other process pays
for its imports.
"""

from __future__ import annotations

import re
import sys
from html import escape
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pipelines.ports import Ports

PREFIX = "/airworthy"
SHOWN = re.compile(
    r"(?P<kind>reports/validation|reports/drift|reports/live_inputs|reports/evaluation|rollouts)/"
    r"(?P<subject>[A-Za-z0-9_]+)/"
    r"(?P<rest>(?:[A-Za-z0-9_.-]+/)*)(?P<name>[A-Za-z0-9_:-]+\.(?:html|png|json))?"
)
"""Files and folders that are shown: the dataset or the model is the part after the kind."""
DAG_OF_KIND = {
    "reports/validation": "{}__validate",
    "reports/drift": "{}__monitor",
    "reports/live_inputs": "{}__monitor",
    "reports/evaluation": "{}__evaluate",
    "rollouts": "{}__deploy",
}
"""Who may see this DAG may see the file."""
CHECK_OF_KIND = {
    "reports/validation": "quarantine",
    "reports/drift": "drift_check",
    "reports/live_inputs": "live_input_check",
}
"""The check whose ledger lines give the verdicts on a report's day."""
END_RULE = "rollout_rollback"
"""Rule of the task that ends every deploy run; it passes whatever became of the version."""
MEDIA_TYPES = {"html": "text/html; charset=utf-8", "png": "image/png", "json": "application/json"}
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
"""Of a report: its own scripts and pictures, and nothing else."""
FOLDER_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"
"""Of a page with the pictures of a folder, which has no script."""
STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}img{max-width:100%}"


def make_app() -> FastAPI:
    """The pages; without documents of its own, which would be open to everybody."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, FastAPI, HTTPException, Response

    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @pages.get("/store/{path:path}", response_model=None)
    def show(path: str, user: Any = Depends(get_user)) -> Any:  # noqa: B008 - FastAPI's way to name a dependency
        dag_id = dag_of(path)
        if dag_id is None:
            raise HTTPException(404, f"no report or picture is stored under {path!r}")
        if not get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=dag_id), user=user):
            raise HTTPException(403, f"you may not see {dag_id}")
        content = read_page(path)
        if content is None:
            raise HTTPException(404, f"nothing is stored under {path!r} yet, or it was deleted")
        return Response(content, media_type=media_type(path), headers=headers(path))

    return pages


def dag_of(path: str) -> str | None:
    """The DAG whose readers may see a file or folder; None for what is not shown."""
    shown = SHOWN.fullmatch(path)
    if shown is None or ".." in path:
        return None
    return DAG_OF_KIND[shown["kind"]].format(shown["subject"])


def media_type(path: str) -> str:
    """By the name's ending; a folder is shown as a page."""
    return MEDIA_TYPES["html"] if path.endswith("/") else MEDIA_TYPES[path.rpartition(".")[2]]


def headers(path: str) -> dict[str, str]:
    """What the browser may do with a page."""
    return {
        "Content-Security-Policy": FOLDER_POLICY if path.endswith("/") else REPORT_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-cache",
    }


def read_page(path: str) -> bytes | None:
    """A file's content, or a page with the pictures of a folder; None if there is none."""
    from practices._connections import installation

    ports = installation.open_ports()
    store = ports.store
    if not path.endswith("/"):
        return with_verdicts(store.get(path), path, ports) if store.exists(path) else None
    names = sorted(file.removeprefix(path) for file in store.list(path))
    shown = [name for name in names if SHOWN.fullmatch(path + name)]
    return pictures_page(*folder_heading(path, ports), shown) if names else None


def with_verdicts(content: bytes, path: str, ports: Ports) -> bytes:
    """A report on a day that was judged more than once begins with all its verdicts: the page is that of the newest."""
    report = SHOWN.fullmatch(path)
    check = CHECK_OF_KIND.get(report["kind"]) if report and path.endswith(".html") else None
    if report is None or check is None:
        return content
    day = report["name"].removesuffix(".html")
    lines = [line for line in ports.ledger.entries(report["subject"]) if line.details.get("check") == check]
    judged = [f"{line.at:%Y-%m-%d %H:%M} UTC {line.details['outcome']}" for line in lines if line.details["day"] == day]
    if len(judged) < 2:
        return content
    note = f"<p>{escape(day)} was judged {len(judged)} times, and this is the newest: {escape(', '.join(judged))}</p>"
    return re.sub(rb"<body[^>]*>", lambda body: body[0] + note.encode(), content, count=1)


def folder_heading(path: str, ports: Ports) -> tuple[str, list[str]]:
    """Which version the pictures of a folder are about, with its newest verdicts: the folder may be named by a rollout.

    A folder that the ledger says nothing about is headed by its own name.
    """
    from pipelines.ledger.required_evidence import is_gate

    folder = SHOWN.fullmatch(path)
    assert folder is not None, "dag_of has matched it"
    kind, model, name = folder["kind"], folder["subject"], folder["rest"].rstrip("/")
    lines = [line for line in ports.ledger.entries(model) if "outcome" in line.details]
    lines = [line for line in lines if line.details.get("rule") != END_RULE]
    if kind == "rollouts":
        lines = [line for line in lines if line.details.get("rollout_id") == name]
    else:
        lines = [line for line in lines if is_gate(line) and line.version == name]
    if not lines:
        return f"{model}/{name}".rstrip("/"), []
    newest = {str(line.details.get("rule")): f"{line.details['outcome']}".upper() for line in lines}
    about = f"rollout {name}" if kind == "rollouts" else "evaluation"
    verdicts = [f"{rule.replace('_', ' ')}: {outcome}" for rule, outcome in newest.items()]
    return f"{model} version {lines[-1].version}, {about}", verdicts


def pictures_page(heading: str, verdicts: list[str], names: list[str]) -> bytes:
    """The pictures of a folder below each other, and links to its other files."""
    shown = [
        f"<h2>{escape(name)}</h2><img src='{escape(name)}' alt='{escape(name)}'>"
        if name.endswith(".png")
        else f"<p><a href='{escape(name)}'>{escape(name)}</a></p>"
        for name in sorted(names, key=lambda name: (not name.endswith(".png"), name))
    ]
    ended = [verdict for verdict in verdicts if not verdict.endswith(": PASS")] or verdicts
    title = escape(": ".join([heading, *ended[-1:]]))
    head = f"<head><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style></head>"
    verdict_items = "".join(f"<li>{escape(verdict)}</li>" for verdict in verdicts)
    body = f"<h1>{escape(heading)}</h1><ul>{verdict_items}</ul>{''.join(shown)}"
    return f"<!doctype html><html lang='en'>{head}<body>{body}</body></html>".encode()


class StoredReports(AirflowPlugin):
    """Adds the pages to the API server."""

    name = "stored_reports"
    fastapi_apps: list[Any] = []


if "airflow.api_fastapi.app" in sys.modules:
    StoredReports.fastapi_apps = [{"app": make_app(), "url_prefix": PREFIX, "name": "stored reports"}]
