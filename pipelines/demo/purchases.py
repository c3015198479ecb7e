"""The shop of the demonstration: a sample of CDNOW's real purchases, from the file of the `lifetimes` distribution."""

from __future__ import annotations

from pipelines.demo.distribution_files import distribution_file

PYTHON_PACKAGE, VERSION = "lifetimes", "0.11.3"
FILE = "CDNOW_sample.txt"


def purchases_file() -> bytes:
    """The file as it is shipped: 6,919 purchases of 2,357 customers from 1997-01-01 to 1998-06-30.

    Each line holds five values between spaces (customer of the master file, of the sample, ``yyyymmdd``, discs,
    dollars) and ends with CR LF. Nothing tells rows apart: forty are exact duplicates. Raises ``Refused`` if the
    distribution is not installed.
    """
    return distribution_file(PYTHON_PACKAGE, VERSION, FILE).read_bytes()
