"""Shows a request on Airflow's approval page; ``Refused`` if Airflow still shows the request of an earlier try."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.errors import Refused

ANSWERING_ROLES = ("user", "op", "admin")
"""Roles of the simple auth manager that may answer."""
DEFAULT_USERS = "admin:admin"
"""Airflow's default of ``[core] simple_auth_manager_users``."""


def show_request(
    context: Any, *, subject: str, body: str, users: Sequence[str], options: Sequence[str], params: Any
) -> None:
    """Show a request that only ``users`` may answer."""
    from airflow.sdk.api.datamodels._generated import HITLUser
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult

    request = CreateHITLDetailPayload(
        ti_id=context["ti"].id,
        options=list(options),
        subject=subject,
        body=body,
        params=params,
        assigned_users=[HITLUser(id=user, name=user) for user in users],
    )
    response = task_runner.SUPERVISOR_COMMS.send(request)
    if not isinstance(response, HITLDetailRequestResult):
        raise TypeError(f"Airflow answered a request for approval with {type(response).__name__}")
    fields = ("subject", "body", "assigned_users", "options")
    if stale := [name for name in fields if getattr(response, name) != getattr(request, name)]:
        reasons = [f"its {name} differs from the present request" for name in stale]
        reasons.append(f"trigger {context['dag_run'].dag_id} anew instead of clearing this run")
        raise Refused("Airflow keeps showing the request of an earlier try", reasons)


def unable_users(users: Iterable[str]) -> dict[str, str] | None:
    """Who of these cannot answer a request, each with the reason; None where Airflow does not say who its users are."""
    roles = _user_roles()
    if roles is None:
        return None
    unable = {}
    for user in users:
        role = roles.get(user)
        if role is None:
            unable[user] = "is not a user of Airflow: see [core] simple_auth_manager_users"
        elif role.lower() not in ANSWERING_ROLES:
            unable[user] = f"has the role {role} and cannot answer: give {' or '.join(ANSWERING_ROLES)}"
    return unable


def _user_roles() -> dict[str, str] | None:
    """Role of each user of the simple auth manager; None if no task can read them.

    Those of another auth manager are in its own database. A worker that only has Airflow's default list may not have
    the settings of the API server, which knows the users.
    """
    from airflow.sdk.configuration import conf

    if not conf.get("core", "auth_manager", fallback="").endswith(".SimpleAuthManager"):
        return None
    if conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False):
        return {"Anonymous": "admin"}
    declared = conf.get("core", "simple_auth_manager_users", fallback=DEFAULT_USERS)
    if declared == DEFAULT_USERS:
        return None
    users = [part.strip().split(":") for part in declared.split(",") if ":" in part]
    return {name: role for name, role, *_teams in users}
