"""Splits a table by an expectation suite into accepted and quarantined rows, these with all of their reasons."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal
from typing import Any

import great_expectations as gx
import pandas as pd
import polars as pl
from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

from pipelines.errors import Refused
from pipelines.spec.column_value import value_in_type
from pipelines.spec.source import OWN_REASONS_COLUMN
from pipelines.spec.suite import COMPARED_ARGUMENTS, judged_columns
from pipelines.tables.quarantined_rows import REASONS_COLUMN

UNREADABLE = "the values of its column are not what it compares; write another expectation for them"
"""Of a personal column in place of the library's words, which quote a value."""


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


def split_by_suite(rows: pl.DataFrame, suite: ExpectationSuite | None, personal: Collection[str] = ()) -> SuiteFindings:
    """Split ``rows`` by a suite; without a suite, or without rows, everything is accepted.

    No text holds a value of a column that is ``personal``. Raises ``Refused`` listing every expectation that could not
    be evaluated (a column that is not there, say).
    """
    if suite is None or rows.is_empty():
        return SuiteFindings(rows, _with_reasons(rows.clear(), {}))
    result = _validate(rows, suite, personal)
    by_row: defaultdict[int, list[str]] = defaultdict(list)
    failures: list[str] = []
    for item, reason in _with_label(result, "reason"):
        bad = item.result.get("unexpected_index_list")
        if bad is None and not item.success:
            failures.append(f"{reason}{_observed(item, personal)}")
        for number in bad or []:  # whatever share of rows the expectation tolerates
            by_row[int(number)].append(reason)
    keep = pl.Series([number not in by_row for number in range(rows.height)], dtype=pl.Boolean)
    counts = Counter(reason for reasons in by_row.values() for reason in reasons)
    quarantined = _with_reasons(rows.filter(~keep), by_row)
    return SuiteFindings(rows.filter(keep), quarantined, dict(counts), failures, result)


def _observed(item: Any, personal: Collection[str]) -> str:
    """What an expectation on the whole table observed, for people; empty where it is nothing, or personal."""
    observed = item.result.get("observed_value")
    return "" if observed is None or _is_personal(item, personal) else f" (observed {observed})"


def _is_personal(item: Any, personal: Collection[str]) -> bool:
    """Whether what an expectation says may hold values of a personal column; a condition on rows may name any."""
    arguments = item.expectation_config.kwargs
    return bool(personal) and (
        bool(arguments.get("row_condition")) or not {*judged_columns(arguments)}.isdisjoint(personal)
    )


def _with_reasons(rows: pl.DataFrame, by_row: dict[int, list[str]]) -> pl.DataFrame:
    """The source's own column ``reasons`` is stored under another name."""
    rows = rows.rename({REASONS_COLUMN: OWN_REASONS_COLUMN}, strict=False)
    reasons = [by_row[number] for number in sorted(by_row)]
    return rows.with_columns(pl.Series(REASONS_COLUMN, reasons, dtype=pl.List(pl.String)))


def _validate(
    rows: pl.DataFrame, suite: ExpectationSuite, personal: Collection[str]
) -> ExpectationSuiteValidationResult:
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
    result: ExpectationSuiteValidationResult = batch.validate(
        _in_column_types(suite, rows.schema), result_format={"result_format": "COMPLETE"}
    )
    broken = [
        f"{kind}: {UNREADABLE if _is_personal(item, personal) else message}"
        for item, kind in _with_label(result, "type")
        if (message := _exception_message(item.exception_info))
    ]
    if broken:
        raise Refused(f"suite {suite.name} could not be evaluated; correct these expectations", broken)
    return result


class WrittenDecimal(Decimal):
    """A decimal that compares with a float by the digits that are written: 1.10 is at least the limit ``1.1``."""

    def __lt__(self, other: Any) -> bool:
        return not _is_nan(other) and Decimal.__lt__(self, _as_written(other))

    def __le__(self, other: Any) -> bool:
        return not _is_nan(other) and Decimal.__le__(self, _as_written(other))

    def __gt__(self, other: Any) -> bool:
        return not _is_nan(other) and Decimal.__gt__(self, _as_written(other))

    def __ge__(self, other: Any) -> bool:
        return not _is_nan(other) and Decimal.__ge__(self, _as_written(other))

    def __eq__(self, other: object) -> bool:
        return Decimal.__eq__(self, _as_written(other))

    __hash__ = Decimal.__hash__


def _is_nan(number: Any) -> bool:
    """A missing value beside a decimal: what compares with it is false, as for floats."""
    return isinstance(number, float) and math.isnan(number)


def _as_written(number: Any) -> Any:
    return Decimal(repr(float(number))) if isinstance(number, float) and math.isfinite(number) else number


def _in_column_types(suite: ExpectationSuite, schema: pl.Schema) -> ExpectationSuite:
    """The suite with its limits and sets in the types in which pandas compares the columns."""
    expectations = []
    for expectation in suite.expectations:
        arguments = dict(expectation.configuration.kwargs)
        dtype = schema.get(arguments.get("column", ""))
        for name in COMPARED_ARGUMENTS.get(expectation.expectation_type, ()):
            value = arguments.get(name)
            if isinstance(value, list | set | tuple):
                arguments[name] = [_in_type(item, dtype) for item in value]
            elif value is not None:
                arguments[name] = _in_type(value, dtype)
        expectations.append(type(expectation)(**arguments, meta=expectation.meta))
    return ExpectationSuite(name=suite.name, expectations=expectations)


def _in_type(value: Any, dtype: pl.DataType | None) -> Any:
    """Dates as midnights, which pandas has in their place; what is of another type stays as it is."""
    kind = "date" if dtype == pl.Date else "timestamp" if isinstance(dtype, pl.Datetime) else None
    if isinstance(dtype, pl.Decimal):
        return value if (exact := value_in_type(value, "decimal")) is None else WrittenDecimal(exact)  # type: ignore[arg-type]
    instant = value_in_type(value, kind) if kind else None
    if instant is None:
        return value
    return datetime.combine(instant, time()) if kind == "date" else instant  # type: ignore[arg-type]


def _stable_frame(rows: pl.DataFrame) -> pd.DataFrame:
    """For pandas, with types that do not depend on the values.

    Its default makes integers beside a null to floats: 517 would be read as ``517.0``, and 2^53 + 1 as 2^53.
    """
    frame = rows.to_pandas()
    for name, dtype in rows.schema.items():
        if isinstance(dtype, pl.Decimal):
            exact = [math.nan if value is None else WrittenDecimal(value) for value in rows[name]]
            frame[name] = pd.Series(exact, dtype=object, index=frame.index)
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
