"""`python -m pipelines.demo.whole_year` writes a year of features and labels into the store, unjudged.

For `airworthy prove` alone: a year by the DAGs takes hours. It refuses a store that has features already.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta

from pipelines import store_paths
from pipelines.demo.nycflights import DATASET
from pipelines.demo.replay import live_features, typed_source_rows
from pipelines.errors import AirworthyError, Refused
from pipelines.ports import Ports
from pipelines.wiring import open_ports

VIEW = "flight_delay"
DAYS = [date(2013, 1, 1) + timedelta(days=number) for number in range(365)]


def write_year(ports: Ports) -> int:
    """Write both tables; returns the rows of features."""
    view, dataset = ports.catalog.view(VIEW), ports.catalog.dataset(DATASET)
    table = store_paths.features(VIEW)
    if ports.store.days(table):
        raise Refused(f"{table} has days already; name an empty folder by AIRWORTHY_HOME")
    names = list(dict.fromkeys([*view.key, "prediction_time", *view.features]))
    features = live_features(view, dataset, DAYS)
    outcomes = typed_source_rows(view.entity_source, view, dataset, DAYS)
    for day in DAYS:
        ports.store.replace_partition(table, day, features.filter(day=day).select(names))
        validated = store_paths.validated(DATASET, view.entity_source)
        ports.store.replace_partition(validated, day, outcomes.filter(day=day).drop("day"))
    return features.height


def main() -> int:
    try:
        print(f"{write_year(open_ports()):,} rows of {len(DAYS)} days are written")
    except AirworthyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
