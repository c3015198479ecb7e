"""`airworthy adopt` drafts declarations that pass `check`, read the file whole, and ask for what no file tells."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.steps.ingestion.contract import read_delivery
from pipelines.testing.ports import FakePorts

NOW = datetime(2024, 7, 1, tzinfo=UTC)


def orders(rows: int = 120) -> str:
    """Orders of ten customers over sixty days; ``refund`` tells what became of them."""
    lines = ["order_id,customer_id,ordered_at,amount,channel,status,refund"]
    for number in range(rows):
        at = datetime(2024, 4, 1, tzinfo=UTC) + timedelta(hours=12 * number)
        returned = number % 3 == 0
        refund = f"{number}.50" if returned else ""
        status = "returned" if returned else "kept"
        channel = ("web", "shop")[number % 2]
        lines.append(f"{number},{number % 10},{at:%Y-%m-%dT%H:%M:%SZ},{number}.25,{channel},{status},{refund}")
    return "\n".join(lines) + "\n"


CUSTOMERS = "id,region,email\n" + "".join(f"{number},R{number % 3},c{number}@example.org\n" for number in range(12))


def adopt(home: Path, *words: str) -> int:
    ports = FakePorts.make(home, clock=lambda: NOW)
    ports.settings = ports.settings.model_copy(update={"include": home / "include"})
    options = parser().parse_args(["adopt", *words])
    status: int = options.run(options, ports)
    return status


def drafted(home: Path) -> Catalog:
    catalog = Catalog.read(home / "include")
    assert not catalog.refused
    return catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "orders.csv").write_text(orders())
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    return tmp_path


def test_a_question_about_a_row_drafts_a_dataset_a_view_and_a_model(folder: Path, capsys: Any) -> None:
    assert adopt(folder, str(folder / "orders.csv"), "--predict", "status") == 0
    catalog = drafted(folder)
    source = catalog.dataset("orders").sources["orders"]
    assert (source.key, str(source.event_time)) == (["order_id"], "ordered_at")
    assert source.columns["channel"].allowed == ["shop", "web"]
    view = catalog.view("orders_rows")
    assert view.label is not None
    assert view.label.expression == "status = 'returned'"
    assert {"amount", "channel", "event_hour", "customer_count_7d", "customer_status_share_7d"} <= set(view.features)
    assert catalog.model("status").problem == "classification"
    printed = capsys.readouterr().out
    assert "orders: 120 rows, 7 columns, key order_id, by ordered_at\n" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if str(folder) not in line)


def test_a_column_that_gives_the_label_away_is_declared_as_known_later_and_asked_about(
    folder: Path, capsys: Any
) -> None:
    adopt(folder, str(folder / "orders.csv"), "--predict", "status", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert "refund" not in drafted(folder).view("orders_rows").features
    [question] = [item for item in facts["questions"] if "refund" in item["question"]]
    assert "whether it has a value tells the label (1.000 of 1)" in question["question"]
    line = Path(question["file"]).read_text().splitlines()[question["line"] - 1]
    assert line.strip().startswith("# question: is refund known when the question is put?")


def test_a_question_about_the_future_of_each_customer_drafts_a_panel(folder: Path) -> None:
    question = "COUNT(orders.*, 0, 30d) > 0 FOR EACH customers.id EVERY day"
    adopt(folder, str(folder / "orders.csv"), str(folder / "customers.csv"), "--predict", question)
    view = drafted(folder).view("orders_day")
    assert view.entity == ["customer_id"]
    assert view.panel is not None
    assert view.label is not None
    assert (view.label.expression, view.label.within) == ("count(orders) > 0", timedelta(days=30))
    assert {"customer_orders_sum_amount_7d", "customer_days_since_last_orders", "customer_region"} <= set(view.features)


def test_a_table_that_is_joined_by_its_key_is_a_reference_whose_columns_are_looked_up(folder: Path) -> None:
    adopt(folder, str(folder / "orders.csv"), str(folder / "customers.csv"), "--predict", "amount")
    catalog = drafted(folder)
    customers = catalog.dataset("orders").sources["customers"]
    assert (customers.cadence, customers.key) == ("reference", ["id"])
    assert customers.columns["email"].pii
    features = catalog.view("orders_rows").features
    assert "customer_region" in features
    assert not [name for name in features if "email" in name]
    assert catalog.model("amount").problem == "regression"


def test_a_table_without_dates_has_a_view_of_its_rows_without_what_gives_the_label_away(tmp_path: Path) -> None:
    rows = [f"{n % 7}.5,{('a', 'b')[n % 2]},{('x', 'yes')[n % 2]},{('no', 'yes')[n % 2]}" for n in range(80)]
    (tmp_path / "loans.csv").write_text("size,group,paid,bad\n" + "\n".join(rows) + "\n")
    adopt(tmp_path, str(tmp_path / "loans.csv"), "--predict", "bad")
    catalog = drafted(tmp_path)
    view = catalog.view("loans_rows")
    assert view.is_table
    assert view.label is not None
    assert (view.label.expression, list(view.features)) == ("bad = 'yes'", ["size"])
    assert catalog.model("bad").training.split.strategy == "stratified"


def test_without_a_question_the_dataset_alone_is_drafted_and_the_question_asked_for(folder: Path, capsys: Any) -> None:
    adopt(folder, str(folder / "orders.csv"), "--name", "sales")
    catalog = drafted(folder)
    assert (list(catalog.datasets), list(catalog.views)) == (["sales"], [])
    assert "what is to be predicted?" in " ".join(capsys.readouterr().out.split())


def test_nothing_is_overwritten_and_nothing_is_written_beside_what_is_there(folder: Path) -> None:
    adopt(folder, str(folder / "orders.csv"))
    held = {path: path.read_text() for path in (folder / "include").rglob("*.yaml")}
    with pytest.raises(Refused, match="a draft overwrites nothing"):
        adopt(folder, str(folder / "orders.csv"), "--predict", "status")
    assert {path: path.read_text() for path in (folder / "include").rglob("*.yaml")} == held


def test_a_file_without_a_header_takes_the_names_that_are_given(tmp_path: Path) -> None:
    lines = [f" {number % 7:05d}  199701{number % 28 + 1:02d}  {number % 3}  {number}.5" for number in range(30)] * 2
    (tmp_path / "cd.txt").write_text("\r\n".join(lines) + "\r\n")
    adopt(
        tmp_path, f"purchases={tmp_path / 'cd.txt'}", "--columns", "customer_id,date,cds,amount",
        "--predict", "COUNT(purchases.*, 0, 7d) > 0 FOR EACH purchases.customer_id",
    )  # fmt: skip
    source = drafted(tmp_path).dataset("purchases").sources["purchases"]
    assert (source.key, source.files.delimiter, source.files.header) == ("row", "whitespace", False)
    assert {name: column.type for name, column in source.columns.items()} == {
        "customer_id": "string", "date": "date", "cds": "integer", "amount": "number"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--predict", "COUNT(orders, 30) FOR EACH x"], "cannot be read; write"),
        (["--predict", "COUNT(sales.*, 0, 7d) > 0 FOR EACH sales.id"], "no file is called sales"),
        (["--predict", "COUNT(orders.*, 0, 7d) > 0 FOR EACH orders.refund"], "names no entity"),
        (["--predict", "ordered_at"], "predict a condition"),
        (["--predict", "ordered_at is not null"], "which is known when the question is put"),
        (["--predict", "nothing > 3"], "'nothing' is not a column"),
        (["--key", "order"], "has no column 'order'"),
        (["--event-time", "amount", "--predict", "status"], "'amount' is number"),
        (["--timezone", "Mars/Base"], "--timezone Mars/Base is unknown"),
        (["--lead", "22:30"], "--lead 22:30"),
        (["--name", "My Shop"], "is no name of a dataset; write it as in my_shop"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(folder: Path, words: list[str], reason: str) -> None:
    with pytest.raises(Refused) as error:
        adopt(folder, str(folder / "orders.csv"), *words)
    assert reason in str(error.value)
    assert not (folder / "include").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("a,b\n", "has no rows"),
        (",a\n1,2\n", "column 1 has no name in the header; give it one"),
        ("a,a\n1,2\n", "column 'a' is in the header more than once"),
        ("a,A\n1,2\n", "differ from another column of their table only by capitals"),
        ("__a,b\n1,2\n", "begin with __"),
        ('a,b\n"1,2\n3,4,5\n', "opens a quote"),
        ('{"a": [1]}', "a list in the field 'a'"),
    ],
)
def test_a_file_that_no_declaration_can_read_is_refused_with_what_to_do(
    tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(Refused) as error:
        adopt(tmp_path, str(tmp_path / "a.csv"))
    assert reason in str(error.value)
    assert not (tmp_path / "include").exists()


NAMES = st.sampled_from(
    ["amount", "Amount (EUR)", "day", "partition", "target", "größe", "a,b", "no", "value", "x.y", "e-mail", "label"]
)
CELLS: dict[str, st.SearchStrategy[str]] = {
    "integers": st.integers(-(10**6), 10**12).map(str),
    "long": st.integers(10**17, 10**20).map(str),
    "numbers": st.decimals(-1000, 1000, places=2).map(str),
    "codes": st.integers(0, 999).map(lambda number: f"{number:05d}"),
    "words": st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12),
    "answers": st.sampled_from(["yes", "no"]),
    "truths": st.sampled_from(["true", "false"]),
    "days": st.dates(date(1990, 1, 1), date(2030, 1, 1)).map(str),
    "compact": st.dates(date(1990, 1, 1), date(2030, 1, 1)).map(lambda day: f"{day:%Y%m%d}"),
    "german": st.dates(date(1990, 1, 1), date(2030, 1, 1)).map(lambda day: f"{day:%d.%m.%Y}"),
    "times": st.datetimes().map(lambda at: f"{at.replace(year=2024, day=1):%Y-%m-%d %H:%M:%S}"),
    "question marks": st.one_of(st.just("?"), st.integers(0, 9).map(str)),
    "nothing": st.just(""),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str]:
    """A file with an id, a time, an outcome and columns of any kind; and its delimiter."""
    rows = draw(st.integers(1, 30))
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    columns = {"id": [str(number) for number in range(rows)]}
    columns["at"] = [f"2024-05-{number % 28 + 1:02d}T{number % 24:02d}:30:00Z" for number in range(rows)]
    columns["won"] = [("true", "false")[number % 2] for number in range(rows)]
    for name in names:
        cells = CELLS[draw(st.sampled_from([*CELLS]))]
        columns[name] = draw(st.lists(st.one_of(cells, cells, cells, st.just("")), min_size=rows, max_size=rows))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([columns.keys(), *zip(*columns.values(), strict=True)])
    return text.getvalue(), delimiter


@given(tables())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_file_holds_its_draft_has_no_fault_and_reads_every_value(table: tuple[str, str]) -> None:
    """A text stays what it is; of other types each cell that has a value has one when it is read."""
    text, delimiter = table
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "table.csv").write_text(text, encoding="utf-8", newline="")
        adopt(home, str(home / "table.csv"), "--predict", "won", "--key", "id", "--event-time", "at", "--json")
        catalog = drafted(home)
    source = catalog.dataset("table").sources["table"]
    rows, faults = read_delivery({"table.csv": text.encode()}, source, None)
    assert not faults
    written = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    for column, contract in source.columns.items():
        empty = {*(contract.null_values if contract.null_values is not None else source.files.null_values)}
        cells = [None if row[column] in empty else row[column] for row in written]
        values = rows[source.stored_name(column)].to_list()
        assert [value is None for value in values] == [cell is None for cell in cells]
        if contract.type == "string":
            assert values == cells
    assert catalog.models
