"""A store is opened only by a version that knows its paths, and nothing is written to any other."""

from __future__ import annotations

import json

import pytest

from pipelines.adapters.store.store_format import check_format
from pipelines.errors import Refused
from pipelines.store_paths import FORMAT, FORMAT_FILE, landing, table_root
from pipelines.testing.ports import MemoryStore


def test_an_empty_store_says_its_format_from_its_first_opening_on() -> None:
    store = MemoryStore()
    check_format(store)
    assert json.loads(store.get(FORMAT_FILE)) == {"format": FORMAT}
    check_format(store)


def test_files_that_landed_before_the_first_opening_are_no_old_store() -> None:
    store = MemoryStore()
    store.put(landing("shop", "purchases", "2024-W07", "purchases.csv"), b"1")
    store.put(f"{table_root('raw/shop.purchases')}/_delta_log/0.json", b"{}")
    check_format(store)
    assert store.exists(FORMAT_FILE)


@pytest.mark.parametrize("layer", ["raw", "validated", "quarantine"])
def test_a_table_without_its_dataset_refuses_the_store_with_the_way_on(layer: str) -> None:
    store = MemoryStore()
    store.put(f"{table_root(f'{layer}/flights')}/_delta_log/0.json", b"{}")
    before = dict(store.files)
    with pytest.raises(Refused, match="earlier version") as refused:
        check_format(store)
    assert "flights" in refused.value.reasons[0]
    assert "landing/<dataset>/<source>" in refused.value.reasons[1]
    assert store.files == before


def test_a_store_of_a_later_format_is_refused() -> None:
    store = MemoryStore()
    store.put(FORMAT_FILE, json.dumps({"format": FORMAT + 1}).encode())
    with pytest.raises(Refused, match=f"has format {FORMAT + 1}"):
        check_format(store)
