"""FAB's auth manager, which lets the people named in an approval request answer it: `[core] auth_manager`.

FAB knows its users by number, declarations name them by their log-in names, and only FAB knows both.
"""

from __future__ import annotations

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.auth_manager.models import User


class NamedApprovers(FabAuthManager):
    """FAB's own, but for whom a request for approval is assigned to."""

    def is_authorized_hitl_task(self, *, assigned_users: set[str], user: User) -> bool:
        return user.get_name() in assigned_users
