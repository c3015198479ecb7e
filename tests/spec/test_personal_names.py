"""A name that often holds personal data is asked about; a like one is not."""

from __future__ import annotations

import pytest

from pipelines.spec.personal_names import may_be_personal, personal_kind


@pytest.mark.parametrize(
    "name",
    ["email", "E-Mail", "contactEmail", "customer_phone", "birth_date", "DOB", "first name", "ip", "home address"],
)
def test_a_name_of_personal_data_is_found(name: str) -> None:
    assert may_be_personal(name)


@pytest.mark.parametrize("name", ["name", "ship", "shipment", "tip", "birthplaces", "phonemes", "addressed", "amount"])
def test_a_name_that_is_like_one_is_not(name: str) -> None:
    assert not may_be_personal(name)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["ann@example.org", "ben.b@mail.example.com", "c@d.io", "-", "dan@e.de"], "e-mail addresses"),
        (["ann@example.org", "-", "-"], None),
        (["+49 30 1234567", "+1 (555) 123-4567"], "telephone numbers"),
        (["192.168.0.1", "10.0.0.255"], "IP addresses"),
        (["1.2.3.4.5", "256.1.1.1", "1.2.3"], None),
        (["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"], "IBANs"),
        (["N14228", "UA", "2024-01-31", "1,234.50"], None),
        ([], None),
    ],
)
def test_values_tell_what_they_may_be(values: list[str], kind: str | None) -> None:
    assert personal_kind(values) == kind
