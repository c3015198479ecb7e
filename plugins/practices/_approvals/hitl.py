"""Shows a request on Airflow's approval page; ``Refused`` if Airflow still shows the request of an earlier try."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import Refused

log = logging.getLogger(__name__)
ANSWERING_ROLES = ("user", "op", "admin")
"""Roles of the simple auth manager that may answer."""


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


def warn_unknown_users(users: Sequence[str]) -> None:
    """Log which users cannot answer, where Airflow has the simple auth manager."""
    from airflow.sdk.configuration import conf

    if not conf.get("core", "auth_manager", fallback="").endswith(".SimpleAuthManager"):
        return
    known = _parse_users(conf.get("core", "simple_auth_manager_users", fallback=""))
    for user in users:
        role = known.get(user)
        if role is None:
            log.warning("%s is not a user of Airflow and cannot answer: see [core] simple_auth_manager_users", user)
        elif role.lower() not in ANSWERING_ROLES:
            log.warning("%s has the role %s and cannot answer: give %s", user, role, " or ".join(ANSWERING_ROLES))


def _parse_users(declared: str) -> Mapping[str, str]:
    return dict(part.strip().split(":", 1) for part in declared.split(",") if ":" in part)
