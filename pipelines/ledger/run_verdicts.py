"""Which tasks of one Airflow run did not pass, and why: by the keys that verdicts have on the ledger."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.ports import LedgerEntry
from pipelines.verdict import Outcome


def refusals(lines: Iterable[LedgerEntry], run_key: str) -> dict[str, list[str]]:
    """Task to the reasons of its newest verdict in the run ``<dag_id>/<run_id>``, without tasks that passed at last."""
    prefix, newest = f"{run_key}/", dict[str, LedgerEntry]()
    for line in lines:
        if "outcome" in line.details and (line.key or "").startswith(prefix):
            newest[str(line.key).removeprefix(prefix).partition("/")[0]] = line
    return {
        task: [str(reason) for reason in line.details.get("reasons") or ()]
        for task, line in newest.items()
        if line.details["outcome"] != Outcome.PASS.value
    }


def refusal_text(lines: Iterable[LedgerEntry], run_key: str) -> str:
    """Every reason of the run's tasks that did not pass; empty if no verdict ended it."""
    return "; ".join(reason for reasons in refusals(lines, run_key).values() for reason in reasons)
