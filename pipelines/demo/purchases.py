"""The shop of the demonstration: a sample of CDNOW's real purchases, from the file of the `lifetimes` distribution."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.demo.distribution_files import distribution_file
from pipelines.errors import Refused

if TYPE_CHECKING:
    import polars as pl

    from pipelines.spec.source import SourceSpec

DATASET, SOURCE = "shop", "purchases"
PYTHON_PACKAGE, VERSION = "lifetimes", "0.11.3"
FILE = "CDNOW_sample.txt"


@lru_cache(maxsize=1)
def purchases_file() -> bytes:
    """The file as it is shipped: 6,919 purchases of 2,357 customers from 1997-01-01 to 1998-06-30.

    Each line holds five values between spaces (customer of the master file, of the sample, ``yyyymmdd``, discs,
    dollars) and ends with CR LF. Nothing tells rows apart: forty are exact duplicates. Raises ``Refused`` if the
    distribution is not installed.
    """
    return distribution_file(PYTHON_PACKAGE, VERSION, FILE).read_bytes()


def source_text(name: str, source: SourceSpec) -> pl.DataFrame:
    """The purchases with the columns of the contract, every one a string. ``Refused`` for another source."""
    from pipelines.steps.ingestion.delivered_file import read_file

    if name != SOURCE:
        raise Refused(f"{PYTHON_PACKAGE} has no source {name!r}; it has {SOURCE}")
    file = read_file(FILE, purchases_file(), source.files, list(source.columns))
    if file.rows is None:
        raise Refused(f"{FILE} of {PYTHON_PACKAGE} is not written as {DATASET}.{name} declares", file.failures)
    return file.rows
