"""Days that are taken without Airflow are judged by the same rules: one that is refused stops them, with reasons."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipelines.demo.land import land
from pipelines.demo.past_days import take_days
from pipelines.errors import Refused
from pipelines.testing.ports import FakePorts

FIRST, NEXT = date(1997, 1, 5), date(1997, 1, 6)
"""A Sunday, with which the rows of Monday are due, and that Monday."""


def test_a_day_whose_file_was_altered_is_refused_and_the_days_before_it_are_held(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path)
    land(NEXT, NEXT, ports, "shop")
    ports.store.put(f"landing/shop/purchases/{NEXT}/{NEXT}.txt", b"00004 0001 19970106 2 29.33\n")
    with pytest.raises(Refused, match="shop of 1997-01-06 was not ingested") as refusal:
        take_days([FIRST, NEXT], ports, "shop")
    assert any("sha256" in reason for reason in refusal.value.reasons)
    assert ports.store.days("validated/shop.purchases") == [FIRST]
    assert ports.store.days("features/customer_week") == [NEXT]
