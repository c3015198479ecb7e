"""Reads an expectation suite from its YAML file, or refuses it with a list of all its faults."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.registry import get_expectation_impl

from pipelines.errors import Refused
from pipelines.spec.catalog import read_declaration
from pipelines.spec.suite import DeclaredSuite


@lru_cache(maxsize=16)
def read_suite(path: Path) -> ExpectationSuite:
    """The suite of one file, each expectation with its ``reason`` in ``meta``.

    Raises ``Refused`` listing every expectation that Great Expectations does not know or whose arguments are wrong.
    """
    declared = read_declaration(path, DeclaredSuite)
    expectations: list[Expectation] = []
    faults: list[str] = []
    for number, item in enumerate(declared.expectations, start=1):
        try:
            expectation = get_expectation_impl(item.type)
            expectations.append(expectation(**item.kwargs, meta={"reason": item.reason}))
        except Exception as error:
            # Whatever Great Expectations raises here, the cause is in the file.
            faults.append(f"expectation {number} ({item.type}): {' '.join(str(error).split())[:300]}")
    if faults:
        raise Refused(f"suite {path.name} has {len(faults)} fault(s); correct them", faults)
    return ExpectationSuite(name=declared.suite, expectations=expectations)
