"""`airworthy try` takes files to the gates by the steps and rules that Airflow runs, and writes nothing."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.messages.ingestion import IngestRequest
from pipelines.steps import ingest_partition
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.ports import FakePorts
from tests.cli.shop import ITEMS, opened, orders, write_shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shop(tmp_path)
    return tmp_path


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


def declare(folder: Path, change: tuple[str, str]) -> FakePorts:
    """The installation with its dataset changed."""
    path = folder / "include" / "datasets" / "shop.yaml"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    return opened(folder)


ORDERS_FILES = 'files: "{source}/{partition}/*.csv"'


@pytest.mark.parametrize("complete", ["manifest", "{marker: _SUCCESS}", "{quiet: 10m}"])
def test_a_delivery_that_is_complete_has_landed_however_that_is_told(folder: Path, capsys: Any, complete: str) -> None:
    """Of three days the second is complete; the first has no end yet, and the third is still being written."""
    files = f'files: {{path: "{{source}}/{{partition}}/*.csv", complete: {complete}}}'
    ports = declare(folder, (ORDERS_FILES, files))
    now = FixedClock()
    ports.store._clock = now
    spec = ports.catalog.dataset("shop")
    write_delivery(spec, "items", "2024-01-01", {"items.csv": (ITEMS.encode(), 5)}, ports.store)
    head, *lines = orders(days=3).splitlines(keepends=True)
    for number in (1, 0, 2):
        key, content = f"2024-01-0{number + 1}", "".join([head, *lines[20 * number : 20 * number + 20]]).encode()
        if number == 1:
            write_delivery(spec, "orders", key, {"o.csv": (content, 20)}, ports.store)
            now.advance(timedelta(minutes=11))
        else:
            ports.store.put(f"landing/shop/orders/{key}/o.csv", content)
    ports.clock = now
    attempt(ports, "--json", "returned")
    assert facts(capsys)["sources"]["orders"] == {
        "partitions": 1, "accepted": 20, "quarantined": 0, "reasons": {}
    }  # fmt: skip


def test_files_are_tried_whatever_makes_a_delivery_of_their_source_complete(folder: Path, capsys: Any) -> None:
    ports = declare(folder, (ORDERS_FILES, 'files: {path: "{source}/{partition}/*.csv", complete: {quiet: 10m}}'))
    assert attempt(ports, "returned", str(folder / "orders.csv"), str(folder / "items.csv")) == 0
    assert "orders: 600 rows accepted" in capsys.readouterr().out


def test_several_files_of_a_source_are_all_tried_and_two_of_one_name_are_refused(folder: Path, capsys: Any) -> None:
    head, *lines = orders().splitlines(keepends=True)
    for number, part in enumerate((lines[:310], lines[310:])):
        (folder / f"part-{number}.txt").write_text("".join([head, *part]))
    words = [*(f"orders={folder}/part-{number}.txt" for number in (0, 1)), str(folder / "items.csv")]
    ports = opened(folder)
    assert attempt(ports, "--json", "returned", *words) == 0
    assert facts(capsys)["sources"]["orders"]["accepted"] == 600
    ports = declare(folder, (ORDERS_FILES, 'files: "{source}/{partition}/orders.csv"'))
    with pytest.raises(Refused, match="cannot be taken apart") as error:
        attempt(ports, "returned", *words)
    assert "orders has one file orders.csv for each partition; name one file of it" in str(error.value)


def landed(ports: FakePorts, days: int) -> None:
    """So many days of orders, with the items of the first."""
    spec = ports.catalog.dataset("shop")
    write_delivery(spec, "items", "2024-01-01", {"items.csv": (ITEMS.encode(), 5)}, ports.store)
    head, *lines = orders(days=days).splitlines(keepends=True)
    for number in range(days):
        content = "".join([head, *lines[20 * number : 20 * number + 20]]).encode()
        write_delivery(spec, "orders", f"2024-01-{number + 1:02d}", {"o.csv": (content, 20)}, ports.store)


def test_a_landed_file_that_its_manifest_does_not_describe_is_refused_as_airflow_would(
    folder: Path, capsys: Any
) -> None:
    ports = opened(folder)
    landed(ports, 2)
    path = "landing/shop/orders/2024-01-02/o.csv"
    ports.store.put(path, b"".join(ports.store.get(path).splitlines(keepends=True)[:-1]))
    assert attempt(ports, "--json", "returned") == 65
    stages = {item["stage"]: item["reason"] for item in facts(capsys)["refused"]}
    assert "its manifest says" in stages["contract 2024-01-02"]


def test_held_rows_are_tried_where_their_landed_files_were_removed(folder: Path, capsys: Any) -> None:
    ports = opened(folder)
    landed(ports, 2)
    for day in ("2024-01-01", "2024-01-02"):
        ingest_partition.run(IngestRequest(dataset="shop", partition=day), ports)
    for path in [*ports.store.files]:
        if path.startswith(("landing/shop/orders/2024-01-01", "landing/shop/items")):
            ports.store.delete(path)
    attempt(ports, "--json", "returned")
    figures = facts(capsys)
    assert figures["sources"]["orders"]["accepted"] == 40
    assert figures["sources"]["items"]["accepted"] == 5


def test_rows_that_came_late_are_tried_with_their_own_day(folder: Path, capsys: Any) -> None:
    ports = declare(folder, ("    known: {after: 0m}\n", "    known: {after: 0m}\n    late: {allow: 3d}\n"))
    landed(ports, 3)
    head, *lines = orders(days=3).splitlines(keepends=True)
    late = "".join([head, lines[0].replace("0,", "900,", 1), *lines[40:]]).encode()
    write_delivery(ports.catalog.dataset("shop"), "orders", "2024-01-03", {"o.csv": (late, 21)}, ports.store)
    attempt(ports, "--json", "returned")
    figures = facts(capsys)
    assert [item for item in figures["refused"] if item["stage"].startswith("contract")] == []
    assert figures["sources"]["orders"]["accepted"] == 61


def test_a_table_of_a_database_is_tried_from_what_was_read_of_it(folder: Path, capsys: Any) -> None:
    source = "sql: {connection: warehouse, table: items}"
    ports = declare(folder, ('files: "{source}/{partition}/items.csv"', source))
    landed_orders = ports.catalog.dataset("shop")
    rows = pl.read_csv(io.StringIO(ITEMS)).with_columns(pl.col("weight").cast(pl.Float64))
    content = io.BytesIO()
    rows.write_parquet(content)
    with pytest.raises(Refused) as error:
        attempt(ports, "returned")
    assert "items: no complete delivery; `airworthy deliver shop items PARTITION` reads one" in str(error.value)
    write_delivery(landed_orders, "orders", "2024-01-01", {"o.csv": (orders(days=1).encode(), 20)}, ports.store)
    files = {"extract.parquet": (content.getvalue(), 5)}
    write_delivery(landed_orders, "items", "2024-01-01", files, ports.store)
    attempt(ports, "--json", "returned")
    assert facts(capsys)["sources"]["items"]["accepted"] == 5


def test_days_before_the_first_copy_of_a_reference_are_left_out_and_told(folder: Path, capsys: Any) -> None:
    ports = opened(folder)
    landed(ports, 3)
    for path in [*ports.store.files]:
        if path.startswith("landing/shop/items"):
            ports.store.delete(path)
    spec = ports.catalog.dataset("shop")
    write_delivery(spec, "items", "2024-01-03", {"items.csv": (ITEMS.encode(), 5)}, ports.store)
    attempt(ports, "--json", "returned")
    figures = facts(capsys)
    assert figures["sources"]["orders"]["accepted"] == 20
    assert figures["notes"] == ["2 partitions, 2024-01-01 to 2024-01-02, not of every source"]


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
        (["returned"], "orders: no complete delivery; `airworthy deliver shop orders PARTITION FILE` lands one"),
        (["returned", "{folder}/other.csv"], "other.csv cannot be read"),
        (["return", "{folder}/orders.csv"], "there is no model return"),
        (["--set", "training", "returned", "{folder}/orders.csv"], "--set training sets nothing"),
    ],
)
def test_what_cannot_be_tried_is_refused(folder: Path, words: list[str], reason: str) -> None:
    with pytest.raises(Refused) as error:
        attempt(opened(folder), *(word.format(folder=folder) for word in words))
    assert reason in str(error.value)
