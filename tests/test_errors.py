"""No error and no line of a log repeats the password of an address, whoever wrote the text."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.errors import Conflict, Refused, Unavailable, hide_passwords
from pipelines.logs.personal_data import mask_message

SCHEMES = st.sampled_from(["postgresql", "https", "s3", "redis+tls"])
NAMES = st.text("abcxyz0189._-", min_size=0, max_size=8)
PASSWORDS = st.text("ABC4567!$%&/:;@?#[]=+~", min_size=1, max_size=12).map(lambda text: f"Q{text}Q")


@settings(max_examples=60, deadline=None)
@given(SCHEMES, NAMES, PASSWORDS, st.sampled_from(["db", "db.example:5432", "[::1]:80"]))
def test_no_error_repeats_the_password_of_an_address(scheme: str, name: str, password: str, host: str) -> None:
    text = f"the service at {scheme}://{name}:{password}@{host}/path does not answer"
    errors = (Refused(text, [text]), Unavailable(text), Conflict("changed", [text]))
    for error in (*errors, *(pickle.loads(pickle.dumps(error)) for error in errors)):
        assert password not in str(error)
        assert f"{scheme}://***@{host}/path does not answer" in str(error)
    assert password not in f"{errors[0].subject} {errors[0].reasons}"
    assert password not in mask_message(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8900/models/m/invocations",
        "s3://bucket/prefix/part.parquet",
        "registry.example/step@sha256:00ff",
        "oci://registry.example/step@sha256:00ff",
        "feature delay_6h@1 of 10:30",
        "file:///srv/store",
        "https://[::1]:80/",
    ],
)
def test_a_text_without_a_password_stays_as_it_is(text: str) -> None:
    assert hide_passwords(text) == text


@pytest.mark.parametrize("address", ["postgresql:/ann:tell-nobody@db/l", "mysql://ann:tell-nobody@db/l"])
def test_an_address_of_the_ledger_that_is_none_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(Refused) as error:
        SqlLedger(address)
    assert "tell-nobody" not in str(error.value)
