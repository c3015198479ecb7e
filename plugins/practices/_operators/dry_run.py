"""The parent of the practices whose form can say that a run only tells what it would do."""

from __future__ import annotations

from inspect import getdoc
from typing import Any

from airflow.sdk import BaseOperator


class DryRunPractice(BaseOperator):
    """With ``report_only`` nothing is changed; a text of the form counts as the boolean that it spells."""

    template_fields = ("report_only",)
    ui_color = "#d0d0d0"

    def __init__(self, *, report_only: Any = False, **arguments: Any) -> None:
        super().__init__(**{"doc_md": getdoc(type(self)), **arguments})
        self.report_only = report_only

    @property
    def is_report_only(self) -> bool:
        return str(self.report_only).lower() == "true"
