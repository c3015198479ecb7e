"""A small dataset and its source systems: two that deliver daily, one that delivers a full copy now and then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pipelines import store_paths
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec

DAY = date(2013, 1, 5)
"""Its files are due on the 6th at 06:00 in New York (11:00 UTC) and waited for until 06:30."""


def dataset(**partition: Any) -> DatasetSpec:
    columns = {"id": {"type": "integer"}}
    source = {"files": "{source}/{partition}/rows.csv", "key": ["id"], "columns": columns}
    return DatasetSpec.model_validate(
        {
            "schema": 2,
            "dataset": "flights",
            "description": "Departures",
            "owner": "data-platform",
            "partition": {
                "every": "day",
                "start": "2013-01-01",
                "end": "2013-12-31",
                "timezone": "America/New_York",
                "wait": "30m",
                **partition,
            },
            "sources": {"flights": source, "weather": source, "planes": {**source, "cadence": "reference"}},
        }
    )


def deliver(store: Store, *days: date, sources: Mapping[str, int] | None = None) -> None:
    """Land manifests of these sources, by rows; all three sources if none are named."""
    for day in days:
        for source, rows in (sources or {"flights": 900, "weather": 72, "planes": 3322}).items():
            file = LandedFile(name="rows.csv", rows=rows, sha256=f"{rows:064d}")
            manifest = DeliveryManifest(source=source, partition=f"{day}", files=[file])
            path = store_paths.landing("flights", source, day, "_manifest.json")
            store.put(path, manifest.model_dump_json(by_alias=True).encode())
