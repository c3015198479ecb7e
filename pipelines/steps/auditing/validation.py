"""Splits a table by an expectation suite into accepted and quarantined rows, these with all of their reasons."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import great_expectations as gx
import pandas as pd
import polars as pl
from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

from pipelines.errors import Refused
from pipelines.spec.source import OWN_REASONS_COLUMN
from pipelines.tables.quarantined_rows import REASONS_COLUMN


@dataclass(frozen=True)
class SuiteFindings:
    """What a suite found in one table.

    ``accepted`` and ``quarantined`` share the columns and together hold every row; ``quarantined`` has ``reasons``
    (a list of strings) as well. ``failures`` are expectations on the whole table that failed.
    """

    accepted: pl.DataFrame
    quarantined: pl.DataFrame
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    result: ExpectationSuiteValidationResult | None = None


def split_by_suite(rows: pl.DataFrame, suite: ExpectationSuite | None) -> SuiteFindings:
    """Split ``rows`` by a suite; without a suite, or without rows, everything is accepted.

    Raises ``Refused`` listing every expectation that could not be evaluated (a column that is not there, say).
    """
    if suite is None or rows.is_empty():
        return SuiteFindings(rows, _with_reasons(rows.clear(), {}))
    result = _validate(rows, suite)
    by_row: defaultdict[int, list[str]] = defaultdict(list)
    failures: list[str] = []
    for item, reason in _with_label(result, "reason"):
        bad = item.result.get("unexpected_index_list")
        if bad is None and not item.success:
            failures.append(f"{reason} (observed {item.result.get('observed_value')})")
        for number in bad or []:  # whatever share of rows the expectation tolerates
            by_row[int(number)].append(reason)
    keep = pl.Series([number not in by_row for number in range(rows.height)], dtype=pl.Boolean)
    counts = Counter(reason for reasons in by_row.values() for reason in reasons)
    quarantined = _with_reasons(rows.filter(~keep), by_row)
    return SuiteFindings(rows.filter(keep), quarantined, dict(counts), failures, result)


def _with_reasons(rows: pl.DataFrame, by_row: dict[int, list[str]]) -> pl.DataFrame:
    """The source's own column ``reasons`` is stored under another name."""
    rows = rows.rename({REASONS_COLUMN: OWN_REASONS_COLUMN}, strict=False)
    reasons = [by_row[number] for number in sorted(by_row)]
    return rows.with_columns(pl.Series(REASONS_COLUMN, reasons, dtype=pl.List(pl.String)))


def _validate(rows: pl.DataFrame, suite: ExpectationSuite) -> ExpectationSuiteValidationResult:
    # Without data-docs sites: each audit would leave two of them in the temporary folder.
    defaults = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    context: Any = gx.get_context(mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=defaults))
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("day")
    batch = (
        source.add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": _stable_frame(rows)})
    )
    result: ExpectationSuiteValidationResult = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    broken = [
        f"{kind}: {_exception_message(item.exception_info)}"
        for item, kind in _with_label(result, "type")
        if _exception_message(item.exception_info)
    ]
    if broken:
        raise Refused(f"suite {suite.name} could not be evaluated; correct these expectations", broken)
    return result


def _stable_frame(rows: pl.DataFrame) -> pd.DataFrame:
    """For pandas, with types that do not depend on the values.

    Its default makes integers beside a null to floats: 517 would be read as ``517.0``, and 2^53 + 1 as 2^53.
    """
    frame = rows.to_pandas()
    for name, dtype in rows.schema.items():
        if dtype.is_integer():
            integers = rows[name].cast(pl.Int64)
            absent = integers.is_null().to_numpy()
            frame[name] = pd.arrays.IntegerArray(integers.fill_null(0).to_numpy(), absent, copy=True)
    return frame


def _with_label(result: ExpectationSuiteValidationResult, label: str) -> list[tuple[Any, str]]:
    """Each expectation's result with its declared reason, or its type."""
    configs: list[Any] = [item.expectation_config for item in result.results]
    labels = [config.type if label == "type" else config.meta["reason"] for config in configs]
    return list(zip(result.results, labels, strict=True))


def _exception_message(info: Any) -> str | None:
    """The exception's message; Great Expectations nests it one level deeper for metrics than for expectations."""
    if not isinstance(info, dict):
        return None
    for entry in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message"))
    return None
