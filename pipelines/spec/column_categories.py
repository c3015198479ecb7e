"""Says which categories the contract of a feature's source column lists."""

from __future__ import annotations

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import DirectColumn, FeatureView, LatestObservation, Lookup, Transformation


def column_categories(transformation: Transformation, view: FeatureView, dataset: DatasetSpec) -> list[str] | None:
    """The categories that the contract of a feature's source column lists; None where it lists none."""
    if isinstance(transformation, DirectColumn):
        source = dataset.sources.get(view.entity_source)
    elif isinstance(transformation, Aggregate):
        source = dataset.sources.get(transformation.of)
    elif isinstance(transformation, Lookup | LatestObservation):
        source = dataset.sources.get(transformation.source)
    else:
        return None
    contract = source.stored_columns().get(transformation.column or "") if source else None
    return None if contract is None or contract.allowed is None else [str(value) for value in contract.allowed]
