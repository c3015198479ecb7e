"""`airworthy check VIEW --sample` builds the rows of a view, and asks about features that give the label away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.testing.ports import FakePorts
from tests.cli.shop import ITEMS, opened, orders, write_shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shop(tmp_path)
    return tmp_path


def check(ports: FakePorts, *words: str) -> int:
    options = parser().parse_args(["check", *words])
    status: int = options.run(options, ports)
    return status


def files(folder: Path) -> list[str]:
    return [str(folder / "orders.csv"), str(folder / "items.csv")]


def questions(capsys: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", ["orders_rows", "returned"])
def test_the_first_rows_the_share_of_true_labels_and_the_days_of_a_canary_are_told(
    folder: Path, capsys: Any, name: str
) -> None:
    model = folder / "include" / "models" / "returned.yaml"
    model.write_text(model.read_text() + "deployment: {strategy: canary, canary: {steps: [20]}}\n")
    assert check(opened(folder), name, "--sample", *files(folder)) == 0
    out = capsys.readouterr().out
    assert "orders: 600 rows accepted, 0 quarantined, 30 partitions\n" in out
    assert "orders_rows: 600 rows, 30 days from 2024-01-01 to 2024-01-30\n" in out
    assert "  weight  numeric      1  2  3\n" in out
    assert "label: returned true in 5" in out
    assert "days, if each row is asked about once" in " ".join(out.split())
    assert out.endswith("nothing would be refused\n")
    assert all(len(line) <= 80 for line in out.splitlines() if str(folder) not in line)


def test_a_feature_that_gives_the_label_away_is_a_question_at_the_line_that_declares_it(
    folder: Path, capsys: Any
) -> None:
    (folder / "orders.csv").write_text(orders(leak=True))
    assert check(opened(folder), "returned", "--json", "--sample", *files(folder)) == 0
    [question] = questions(capsys)
    view = folder / "include" / "features" / "orders_rows.yaml"
    assert question["file"] == str(view)
    assert view.read_text().splitlines()[question["line"] - 1] == "  amount, note: own"
    assert "is note known when the question is put? whether it has a value tells the label" in question["question"]


def test_a_text_that_holds_its_own_outcome_and_nulls_where_there_is_no_label_yet_are_asked_about(
    folder: Path, capsys: Any
) -> None:
    """The label alone, 0 or 1, would show neither."""
    header, *lines = orders().splitlines()
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows):
        row[4] = f"closed as {row[5]}, number {number}"
        if number % 10 == 0:
            row[3], row[5] = "", ""
    (folder / "orders.csv").write_text("\n".join([header, *map(",".join, rows)]).replace(", number", " number") + "\n")
    dataset = folder / "include" / "datasets" / "shop.yaml"
    dataset.write_text(
        dataset.read_text()
        .replace("amount: number", "amount: number or null")
        .replace("status: string", "status: string or null")
    )
    check(opened(folder), "returned", "--json", "--sample", *files(folder))
    texts = {line["question"] for line in questions(capsys) if "question" in line}
    assert any("is note known" in text and "its texts hold the outcome of their row" in text for text in texts), texts
    assert any("is amount known" in text and "exactly where the label has none" in text for text in texts), texts


def test_innocent_features_are_not_asked_about(folder: Path, capsys: Any) -> None:
    assert check(opened(folder), "returned", "--json", "--sample", *files(folder)) == 0
    assert questions(capsys) == []


def test_what_would_be_refused_of_a_sample_is_a_fault(folder: Path, capsys: Any) -> None:
    text = (folder / "orders.csv").read_text().replace("2024-01-02T03:00:00Z,i4,", "2024-01-02T03:00:00Z,i4,many")
    (folder / "orders.csv").write_text(text)
    assert check(opened(folder), "orders_rows", "--json", "--sample", *files(folder)) == 65
    [fault] = [line for line in questions(capsys) if "fault" in line]
    assert fault["stage"] == "contract 2024-01-02"


def test_without_a_file_the_newest_deliveries_are_the_sample(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.cli.view_sample.MOST_BYTES", 1500)
    ports = opened(folder)
    spec = ports.catalog.dataset("shop")
    for day in ("2024-01-01", "2024-01-03"):
        write_delivery(spec, "items", day, {"items.csv": (ITEMS.encode(), 5)}, ports.store)
    head, *lines = orders().splitlines(keepends=True)
    for number in range(4):
        content = "".join([head, *lines[20 * number : 20 * number + 20]]).encode()
        write_delivery(spec, "orders", f"2024-01-{number + 1:02d}", {"o.csv": (content, 20)}, ports.store)
    check(ports, "returned", "--sample")
    out = capsys.readouterr().out
    assert "orders_rows: 40 rows, 2 days from 2024-01-03 to 2024-01-04\n" in out
    assert "items: 5 rows accepted, 0 quarantined, 1 partition\n" in out


def test_a_view_with_nothing_landed_and_a_source_of_a_view_are_refused(folder: Path) -> None:
    with pytest.raises(Refused, match="orders: no complete delivery"):
        check(opened(folder), "returned", "--sample")
    with pytest.raises(Refused, match="write SOURCE=FILE"):
        check(opened(folder), "returned", "--source", "orders", "--sample", *files(folder))
