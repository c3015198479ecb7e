"""What the source systems of the demonstration hold: the rows of each source as text, and the files they deliver."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from pipelines.demo import nycflights, purchases
from pipelines.errors import Refused
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.source import SourceSpec

if TYPE_CHECKING:
    import polars as pl

DATASETS = (nycflights.DATASET, purchases.DATASET)


def check_dataset(dataset: str) -> None:
    """``Refused`` for a dataset of which the demonstration holds no data."""
    if dataset not in DATASETS:
        hint = f"it holds {' and '.join(DATASETS)}; `airworthy deliver {dataset}` lands files of your own"
        raise Refused(f"the demonstration holds no data of {dataset}", [hint])


def source_text(dataset: DatasetSpec, name: str) -> pl.DataFrame:
    """All rows of a source, every column a string as the source writes it. ``Refused`` for one that is not held."""
    check_dataset(dataset.dataset)
    if dataset.dataset == purchases.DATASET:
        return purchases.source_text(name, dataset.sources[name])
    return nycflights.source_text(name)


def delivered_file(source: SourceSpec, day: date, rows: pl.DataFrame) -> tuple[str, bytes]:
    """Name and content of the file that delivers the rows of a day, written as the contract says."""
    files = source.files
    content = rows.write_csv(None, include_header=files.header, separator=files.separator)
    return files.name.replace("*", f"{day}"), content.encode()
