"""The declarations of this repository, read once, and views and models as a test declares them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import Refused
from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.plain_yaml import load
from pipelines.spec.view import ViewDeclaration, resolved

INCLUDE = REPOSITORY / "include"


@cache
def shipped() -> Catalog:
    """What this repository declares."""
    catalog = Catalog.read(INCLUDE)
    assert not catalog.refused, catalog.refused
    return catalog


def shipped_model(name: str = "flight_delay") -> ModelSpec:
    return shipped().model(name)


def shipped_view(name: str = "flight_delay") -> FeatureView:
    return shipped().view(name)


def view_fields(name: str = "flight_delay") -> dict[str, Any]:
    """The fields of a view of this repository, as written."""
    fields: dict[str, Any] = load((INCLUDE / "features" / f"{name}.yaml").read_text())
    return fields


def feature_view(fields: Mapping[str, Any] | str, dataset: DatasetSpec, functions: Path | None = None) -> FeatureView:
    """The view that is declared, on this dataset. Raises ``Refused`` with every fault that its dataset shows."""
    declared = load(fields) if isinstance(fields, str) else yaml.safe_load(yaml.safe_dump(dict(fields)))
    view, faults = resolved(ViewDeclaration.model_validate(declared), dataset, functions)
    if view is None:
        raise Refused(f"the view has {len(faults)} fault(s)", faults)
    return view
