"""What a person declares: a dataset, a feature view, a model; one YAML file each, refused with every fault listed."""

from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import Column, DatasetSpec, SourceSpec
from pipelines.spec.features import Feature, FeatureView
from pipelines.spec.model import ModelSpec

__all__ = ["Catalog", "Column", "DatasetSpec", "Feature", "FeatureView", "ModelSpec", "SourceSpec"]
