"""Refuses a store whose tables do not name their dataset, as earlier versions wrote them, before anything is written.

A store names the format of its paths in ``store.json``; a new one gets the file when it is first opened.
"""

from __future__ import annotations

import json

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ports import Store

LAYERS = ("raw", "validated", "quarantine")
FOLDERS = (*map(store_paths.table_root, LAYERS), "receipts/raw", "profiles/validated")


def check_format(store: Store) -> None:
    """Raises ``Refused`` with the way on, ``Unavailable`` if the storage does not answer."""
    root = store.uri(store_paths.FORMAT_FILE).removesuffix(f"/{store_paths.FORMAT_FILE}")
    if store.exists(store_paths.FORMAT_FILE):
        number = json.loads(store.get(store_paths.FORMAT_FILE)).get("format")
        if number == store_paths.FORMAT:
            return
        raise Refused(
            f"the store {root} has format {number}, and this version reads {store_paths.FORMAT}",
            ["use the version of Airworthy that wrote it, or name another store in AIRWORTHY_STORE"],
        )
    if names := sorted({name for layer in LAYERS for name in _tables_without_dataset(store, layer)}):
        raise Refused(
            f"the store {root} was written by an earlier version: its tables do not name their dataset",
            [
                f"sources without a dataset: {', '.join(names)}",
                "stop every part and move landing/<source> to landing/<dataset>/<source>",
                f"rename each <source> in {', '.join(FOLDERS)} to <dataset>.<source>",
                "or name an empty store in AIRWORTHY_STORE, and deliver again",
            ],
        )
    store.put(store_paths.FORMAT_FILE, json.dumps({"format": store_paths.FORMAT}).encode())


def _tables_without_dataset(store: Store, layer: str) -> set[str]:
    folder = f"{store_paths.table_root(layer)}/"
    return {name for path in store.list(folder) if "." not in (name := path.removeprefix(folder).partition("/")[0])}
