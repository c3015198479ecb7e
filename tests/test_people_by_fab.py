"""With FAB, approvers are the people whom a declaration names; FAB itself knows them by number."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from people.fab import NamedApprovers


def user(number: int, name: str) -> Any:
    return SimpleNamespace(get_id=lambda: str(number), get_name=lambda: name)


@pytest.mark.parametrize(("name", "may"), [("ada", True), ("joe", False), ("", False)])
def test_an_assigned_person_answers_by_the_log_in_name(name: str, may: bool) -> None:
    manager = NamedApprovers.__new__(NamedApprovers)
    assert manager.is_authorized_hitl_task(assigned_users={"ada", "grace"}, user=user(3, name)) is may


def test_a_number_is_nobodys_name() -> None:
    manager = NamedApprovers.__new__(NamedApprovers)
    assert not manager.is_authorized_hitl_task(assigned_users={"3"}, user=user(3, "ada"))
