"""`airworthy try` takes files to the gates by the steps and rules that Airflow runs, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.testing.ports import FakePorts

DATASET = """\
schema: 2
dataset: shop
partition: {every: day, start: 2024-01-01, due: 6h}
max_quarantined_share: 0.2
sources:
  orders:
    files: "{source}/{partition}/*.csv"
    key: [id]
    known: {after: 0m}
    known_columns: {status: {after: 1d}}
    suite: orders
    columns: {id: integer, at: timestamp, item: string, amount: number, note: string or null, status: string}
  items:
    files: "{source}/{partition}/items.csv"
    cadence: reference
    known: partition_start
    key: [item]
    columns: {item: string, weight: {type: number, min: 0}}
"""
SUITE = """\
suite: orders
expectations:
  - type: expect_column_values_to_be_between
    kwargs: {column: amount, min_value: 0}
    reason: negative amount
"""
VIEW = """\
schema: 2
view: orders_rows
entity: [id]
rows: {per: orders, lead: 0m}
label: {returned: "status = 'returned'"}
features:
  amount, note: own
  weight: {lookup: items.weight, on: item}
"""
MODEL = """\
schema: 2
model: returned
view: orders_rows
target: returned
training: {minimum_rows: 100, estimator: {kind: xgboost, rounds: 20}}
"""
ITEMS = "item,weight\n" + "".join(f"i{number},{number}\n" for number in range(1, 6))


def orders(days: int = 30, per_day: int = 20, leak: bool = False) -> str:
    """Orders of which the dear ones come back more often; ``note`` says it where there is a ``leak``."""
    random, lines = np.random.default_rng(3), ["id,at,item,amount,note,status"]
    for number in range(days * per_day):
        amount = random.uniform(1, 100)
        returned = random.uniform(0, 100) < amount
        at = f"2024-01-{number // per_day + 1:02d}T{number % per_day:02d}:00:00Z"
        note = ("sorry" if returned else "") if leak else ""
        status = "returned" if returned else "kept"
        lines.append(f"{number},{at},i{number % 5 + 1},{amount:.2f},{note},{status}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file, text in (
        ("datasets/shop", DATASET), ("expectations/orders", SUITE),
        ("features/orders_rows", VIEW), ("models/returned", MODEL),
    ):  # fmt: skip
        path = tmp_path / "include" / f"{file}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tmp_path / "orders.csv").write_text(orders())
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path


def opened(home: Path) -> FakePorts:
    ports = FakePorts.make(home, catalog=Catalog.read(home / "include"))
    ports.settings = ports.settings.model_copy(update={"include": home / "include"})
    assert not ports.catalog.refused
    return ports


def attempt(ports: FakePorts, *words: str) -> int:
    options = parser().parse_args(["try", *words])
    status: int = options.run(options, ports)
    return status


def facts(capsys: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(capsys.readouterr().out)
    return loaded


def test_a_trial_tells_rows_features_parts_metrics_and_the_gain_on_eighty_columns(folder: Path, capsys: Any) -> None:
    ports = opened(folder)
    assert attempt(ports, "returned", str(folder / "orders.csv"), str(folder / "items.csv")) == 0
    out = capsys.readouterr().out
    assert "orders: 600 rows accepted, 0 quarantined, 30 partitions\n" in out
    assert "features: 3 of orders_rows; without a value: note 100.0%\n" in out
    assert "train:      420 rows, 2024-01-01 to 2024-01-2" in out
    assert "a model that learnt nothing 0.5000" in out
    assert out.endswith("nothing would be refused\n")
    assert all(len(line) <= 80 for line in out.splitlines())


def test_nothing_of_the_installation_is_written(folder: Path) -> None:
    ports = opened(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    attempt(ports, "--json", "returned", str(folder / "orders.csv"), str(folder / "items.csv"))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert (ports.store.files, ports.store._tables, ports.ledger.lines, ports.registry._versions) == ({}, {}, [], {})


def test_rows_in_quarantine_are_told_with_why_and_days_that_break_the_contract_are_refused(
    folder: Path, capsys: Any
) -> None:
    lines = orders().splitlines()
    lines[25] = "24,2024-01-02T04:00:00Z,i1,-5,,kept"
    lines[45] = "44,2024-01-03T04:00:00Z,i1,many,,kept"
    (folder / "orders.csv").write_text("\n".join(lines) + "\n")
    status = attempt(opened(folder), "--json", "returned", str(folder / "orders.csv"), str(folder / "items.csv"))
    figures = facts(capsys)
    assert status == 65
    assert figures["sources"]["orders"] == {
        "partitions": 30, "accepted": 579, "quarantined": 1, "reasons": {"negative amount": 1}
    }  # fmt: skip
    [refused] = figures["refused"]
    assert refused["stage"] == "contract 2024-01-03"
    assert "1 of 20 values not of type number, for example 'many'" in refused["reason"]


def test_a_day_with_too_many_rows_in_quarantine_is_left_out(folder: Path, capsys: Any) -> None:
    lines = orders().splitlines()
    for number in range(21, 31):
        lines[number] = ",".join([*lines[number].split(",")[:3], "-1", "", "kept"])
    (folder / "orders.csv").write_text("\n".join(lines) + "\n")
    attempt(opened(folder), "--json", "returned", str(folder / "orders.csv"), str(folder / "items.csv"))
    figures = facts(capsys)
    assert figures["sources"]["orders"]["accepted"] == 580
    assert [item["stage"] for item in figures["refused"]] == ["quarantine 2024-01-02"]


def test_a_gate_that_would_refuse_says_so_and_a_field_can_be_set_for_one_trial(folder: Path, capsys: Any) -> None:
    words = [str(folder / "orders.csv"), str(folder / "items.csv")]
    assert (
        attempt(opened(folder), "--set", "evaluation.minimum_metrics={roc_auc: {min: 0.99}}", "returned", *words) == 65
    )
    assert "refused: gate: roc_auc 0." in capsys.readouterr().out
    assert attempt(opened(folder), "--set", "training.minimum_rows=5000", "returned", *words) == 65
    assert "refused: snapshot: rows 600 < 5000" in capsys.readouterr().out
    with pytest.raises(Refused, match=r"training\.minimum_rows"):
        attempt(opened(folder), "--set", "training.minimum_rows=0", "returned", *words)


def test_a_feature_that_gives_the_label_away_is_asked_about(folder: Path, capsys: Any) -> None:
    (folder / "orders.csv").write_text(orders(leak=True))
    attempt(opened(folder), "--json", "returned", str(folder / "orders.csv"), str(folder / "items.csv"))
    assert facts(capsys)["leaks"] == {"note": ["whether it has a value tells the label (1.000 of 1)"]}


def test_what_has_landed_is_tried_where_no_file_is_named(folder: Path, capsys: Any) -> None:
    ports = opened(folder)
    spec = ports.catalog.dataset("shop")
    text = orders(days=1, per_day=20)
    write_delivery(spec, "orders", "2024-01-01", {"o.csv": (text.encode(), 20)}, ports.store)
    write_delivery(spec, "items", "2024-01-01", {"items.csv": (ITEMS.encode(), 5)}, ports.store)
    assert attempt(ports, "--json", "returned") == 65
    figures = facts(capsys)
    assert figures["sources"]["orders"]["accepted"] == 20
    assert "rows 20 < 100; ingest more days or use a later date" in [item["reason"] for item in figures["refused"]]


def test_a_table_without_dates_is_tried_row_by_row(tmp_path: Path, capsys: Any) -> None:
    random = np.random.default_rng(5)
    rows = [f"{size:.3f},{random.uniform() < size}" for size in random.uniform(0, 1, 400)]
    (tmp_path / "loans.csv").write_text("size,bad\n" + "\n".join(rows).lower() + "\n")
    ports = FakePorts.make(tmp_path)
    ports.settings = ports.settings.model_copy(update={"include": tmp_path / "include"})
    options = parser().parse_args(["adopt", str(tmp_path / "loans.csv"), "--predict", "bad"])
    options.run(options, ports)
    capsys.readouterr()
    assert attempt(opened(tmp_path), "bad", str(tmp_path / "loans.csv")) == 0
    out = capsys.readouterr().out
    assert "loans: 400 rows accepted, 0 quarantined, 1 partition\n" in out
    assert "by 60 rows" in " ".join(out.split())
    assert "1970" not in out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["returned", "{folder}/orders.csv"], "no file of items"),
        (["returned"], "nothing of orders, items of shop has landed"),
        (["returned", "{folder}/other.csv"], "other.csv cannot be read"),
        (["return", "{folder}/orders.csv"], "there is no model return"),
        (["--set", "training", "returned", "{folder}/orders.csv"], "--set training sets nothing"),
    ],
)
def test_what_cannot_be_tried_is_refused(folder: Path, words: list[str], reason: str) -> None:
    with pytest.raises(Refused) as error:
        attempt(opened(folder), *(word.format(folder=folder) for word in words))
    assert reason in str(error.value)
