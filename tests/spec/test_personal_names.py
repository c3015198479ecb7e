"""A name that often holds personal data is asked about; a like one is not."""

from __future__ import annotations

import pytest

from pipelines.spec.personal_names import may_be_personal


@pytest.mark.parametrize(
    "name",
    ["email", "E-Mail", "contactEmail", "customer_phone", "birth_date", "DOB", "first name", "ip", "home address"],
)
def test_a_name_of_personal_data_is_found(name: str) -> None:
    assert may_be_personal(name)


@pytest.mark.parametrize("name", ["name", "ship", "shipment", "tip", "birthplaces", "phonemes", "addressed", "amount"])
def test_a_name_that_is_like_one_is_not(name: str) -> None:
    assert not may_be_personal(name)
