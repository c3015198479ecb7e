"""Checks that a drafted contract reads the file from which it was drafted, whole and without loss."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.spec.dataset import DatasetSpec
from pipelines.steps.drafting.table_guess import TableGuess


def contract_faults(spec: DatasetSpec, tables: Sequence[TableGuess]) -> list[str]:
    """What would refuse the rows, and columns whose values are not those that were read."""
    faults = []
    for table in tables:
        source = spec.sources[table.source]
        missing = [name for name in table.columns if name not in source.columns]
        faults += [f"{table.file}: column {name!r} is not declared" for name in missing]
        faults += [
            f"{table.file}: column {name!r} is declared as {source.columns[name].type}, and was read as {guess.type}"
            for name, guess in table.columns.items()
            if name not in missing and source.columns[name] != guess.spec()
        ]
    return faults
