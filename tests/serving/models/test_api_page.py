"""The page of the API shows every live model, path and answer, and holds nothing that a browser would run or fetch."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from pipelines.serving.models.api_page import api_page
from pipelines.serving.models.bundle import InputColumn
from pipelines.serving.models.openapi import ServedModel, openapi_document

SERVED = {
    "flight_delay": ServedModel(
        "3",
        [
            InputColumn("origin", "categorical", allowed=["EWR", "JFK"]),
            InputColumn("dest", "categorical", allowed=[f"D{number}" for number in range(20)]),
            InputColumn("distance", "numeric", minimum=1, maximum=10000),
            InputColumn("hour", "numeric", maximum=23),
            InputColumn("seats", "numeric"),
            InputColumn("carrier", "categorical"),
        ],
    ),
    "other": ServedModel("<script>alert(1)</script>", [InputColumn('"><img src=x>', "numeric")]),
}


class Page(HTMLParser):
    """Tags with their attributes, and the cells of all tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self._in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(api_page(SERVED, secured=True, version="1.2"))


def test_nothing_is_run_or_fetched_whatever_a_model_calls_its_columns(page: Page) -> None:
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link", "object", "embed", "form"}
    attributes = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "style")}
    assert [found["href"] for _, found in page.tags if "href" in found] == ["openapi.json"]


def test_each_column_is_listed_with_its_valid_values(page: Page) -> None:
    cells = page.cells
    listed = {cells[place]: cells[place + 1 : place + 3] for place in range(0, 21, 3)}
    assert listed == {
        "origin": ["categorical", "EWR, JFK"],
        "dest": ["categorical", ", ".join(f"D{number}" for number in range(12)) + " and 8 more"],
        "distance": ["numeric", "from 1 to 10000"],
        "hour": ["numeric", "to 23"],
        "seats": ["numeric", "a number"],
        "carrier": ["categorical", "a text"],
        '"><img src=x>': ["numeric", "a number"],
    }


@pytest.mark.parametrize(
    ("id_columns", "text"),
    [
        (["customer_id", "period"], "One entity id per row: the values of customer_id, period, joined by |; by it"),
        (["order"], "One entity id per row: the value of order; by it a label finds its answer"),
        ([], "One entity id per row; by it a label finds its answer"),
        (["<b>"], "the value of &lt;b&gt;;"),
    ],
)
def test_the_page_says_of_which_columns_the_id_of_a_row_is_made(id_columns: list[str], text: str) -> None:
    served = {"buys_again": ServedModel("1", [InputColumn("purchases", "numeric")], id_columns)}
    assert text in api_page(served, secured=False, version="1.2")


def test_every_path_header_and_answer_of_the_description_is_on_the_page(page: Page) -> None:
    document = openapi_document(SERVED, secured=True)
    operation = document["paths"]["/invocations"]["post"]
    names = [*document["paths"], *operation["responses"], *(each["name"] for each in operation["parameters"])]
    assert [name for name in names if name not in page.cells] == []


@pytest.mark.parametrize(
    ("secured", "text"), [(True, "the key from <code>AIRWORTHY_GATEWAY_KEY"), (False, "Callers need no credentials")]
)
def test_the_page_says_how_callers_name_themselves(secured: bool, text: str) -> None:
    assert text in api_page(SERVED, secured=secured, version="1.2")


def test_a_gateway_without_models_says_so() -> None:
    assert "No model is live yet." in api_page({}, secured=False, version="1.2")
