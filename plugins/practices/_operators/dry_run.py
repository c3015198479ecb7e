"""Base class of operators with a dry run, which reports what it would do and changes nothing."""

from __future__ import annotations

from inspect import getdoc
from typing import Any

from airflow.sdk import BaseOperator


class DryRunPractice(BaseOperator):
    """``report_only`` is a boolean or its text (``dry_run`` is a method of ``BaseOperator``)."""

    template_fields = ("report_only",)
    ui_color = "#d0d0d0"

    def __init__(self, *, report_only: Any = False, **arguments: Any) -> None:
        super().__init__(**{"doc_md": getdoc(type(self)), **arguments})
        self.report_only = report_only

    @property
    def is_report_only(self) -> bool:
        return str(self.report_only).lower() == "true"
