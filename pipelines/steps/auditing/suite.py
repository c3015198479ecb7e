"""Reads an expectation suite from its YAML file, or refuses it with a list of all its faults."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from great_expectations import ExpectationSuite
from great_expectations.exceptions.exceptions import ExpectationNotFoundError
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.registry import get_expectation_impl

from pipelines.errors import Refused
from pipelines.spec.catalog import read_declaration
from pipelines.spec.suite import DeclaredSuite


def _argument_faults(error: Exception) -> list[str]:
    """What is wrong with each argument, without the words of the library that validates them."""
    items: list[Any] = error.errors() if hasattr(error, "errors") else []
    if not items:
        return [f"its arguments are refused: {' '.join(str(error).split())[:200]}"]
    texts = []
    for item in items:
        place, kind = ".".join(["kwargs", *map(str, item["loc"])]).removesuffix(".__root__"), str(item["type"])
        if kind.endswith("missing"):
            texts.append(f"{place} is required; add it")
        elif kind.endswith("extra") or kind == "extra_forbidden":
            texts.append(f"{place}: unknown argument; remove it or correct the spelling")
        else:
            texts.append(f"{place}: has a value of the wrong kind, or lacks another argument; correct it")
    return list(dict.fromkeys(texts))


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
        except ExpectationNotFoundError:
            faults.append(f"expectation {number} ({item.type}): Great Expectations has none of this type; correct it")
            continue
        try:
            expectations.append(expectation(**item.kwargs, meta={"reason": item.reason}))
        except Exception as error:
            # Whatever Great Expectations raises here, the cause is in the file.
            faults += [f"expectation {number} ({item.type}): {text}" for text in _argument_faults(error)]
    if faults:
        raise Refused(f"suite {path.name} has {len(faults)} fault(s); correct them", faults)
    return ExpectationSuite(name=declared.suite, expectations=expectations)
