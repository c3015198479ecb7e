"""Different keys have different ids, and predictions that were logged under former ids still meet their labels."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from pipelines.tables.entity_id import entity_id, with_former_ids

FLIGHTS = Catalog.read(REPOSITORY / "include").view("flight_delay")
VIEW = FLIGHTS.model_copy(update={"key": ["carrier", "flight", "origin"]})
VALUES = st.text(alphabet="|\\a$1", max_size=4)


def ids(*keys: tuple[str, ...]) -> list[str]:
    return pl.DataFrame(keys, schema=VIEW.key, orient="row").select(entity_id(VIEW)).to_series().to_list()


@given(st.tuples(VALUES, VALUES, VALUES), st.tuples(VALUES, VALUES, VALUES))
def test_two_keys_have_one_id_only_if_they_are_equal(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    first, second = ids(one, other)
    assert (first == second) == (one == other)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (("UA", "1545", "EWR"), "UA|1545|EWR"),
        (("U|A", "1545", "EWR"), "U\\|A|1545|EWR"),
        (("UA\\", "1545", "EWR"), "UA\\\\|1545|EWR"),
        (("", "", ""), "||"),
    ],
)
def test_only_a_value_with_a_bar_or_a_backslash_is_written_otherwise_than_before(
    key: tuple[str, ...], text: str
) -> None:
    assert ids(key) == [text]


def test_labels_are_found_under_the_ids_of_former_predictions_unless_these_name_several_entities() -> None:
    named = ids(("U|A", "1", "X"), ("U", "A|1", "X"), ("a|b", "2", "X"), ("plain", "3", "X"), ("p|q", "4", "X"))
    rows = pl.DataFrame({"entity_id": [*named, "p|q|4|X"], "label": [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]})
    found = with_former_ids(rows)
    assert found[: rows.height].equals(rows)
    assert found[rows.height :].rows() == [("a|b|2|X", 1.0)]
