"""The parent of the practices whose form can say that a run only tells what it would do."""

from __future__ import annotations

from inspect import getdoc
from typing import Any

from airflow.sdk import BaseOperator


class DryRunPractice(BaseOperator):
    """With ``only_tell`` nothing is changed; a text of the form counts as the boolean that it spells."""

    template_fields = ("only_tell",)
    ui_color = "#d0d0d0"

    def __init__(self, *, only_tell: Any = False, **arguments: Any) -> None:
        super().__init__(**{"doc_md": getdoc(type(self)), **arguments})
        self.only_tell = only_tell

    @property
    def tells_only(self) -> bool:
        return str(self.only_tell).lower() == "true"
