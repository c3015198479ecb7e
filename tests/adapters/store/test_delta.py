"""Both stores keep one contract; the Delta store keeps it among rival writers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from pipelines.adapters.store.delta import DeltaStore
from pipelines.adapters.store.files import LocalFiles
from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.partition_record import PartitionRecord
from pipelines.ports import Store
from pipelines.testing.ports import MemoryStore

TABLE = "raw/flights"
FIRST, SECOND, THIRD = (date(2013, 1, number) for number in (1, 2, 3))
RIVALS = get_context("spawn")


def rows(*numbers: int) -> pl.DataFrame:
    hour = datetime(2013, 1, 1, 10, tzinfo=UTC)
    return pl.DataFrame(
        {"flight": list(numbers), "carrier": ["UA"] * len(numbers), "time_hour": [hour] * len(numbers)},
        schema={"flight": pl.Int64, "carrier": pl.String, "time_hour": pl.Datetime("us", "UTC")},
    )


def numbers(store: Store, **where: object) -> list[tuple[int, date]]:
    return list(store.read(TABLE, columns=["flight"], **where).iter_rows())  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> DeltaStore:
    return DeltaStore(str(tmp_path / "store"))


class TestStoreContract:
    """What every store promises."""

    @pytest.fixture(params=["memory", "delta"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        return MemoryStore() if request.param == "memory" else DeltaStore(str(tmp_path / "store"))

    def test_rows_come_back_with_their_day_in_the_order_written(self, store: Store) -> None:
        store.replace_partition(TABLE, SECOND, rows(9, 7, 8))
        store.replace_partition(TABLE, FIRST, rows(2, 1))
        expected = pl.concat(
            [rows(2, 1).with_columns(day=pl.lit(FIRST)), rows(9, 7, 8).with_columns(day=pl.lit(SECOND))]
        )
        assert store.read(TABLE).equals(expected)
        assert store.read(TABLE).schema == expected.schema

    def test_a_partition_is_replaced_and_the_other_days_stay(self, store: Store) -> None:
        store.replace_partition(TABLE, FIRST, rows(1))
        store.replace_partition(TABLE, SECOND, rows(2))
        store.replace_partition(TABLE, FIRST, rows(3, 4))
        assert numbers(store) == [(3, FIRST), (4, FIRST), (2, SECOND)]

    def test_replacing_twice_in_any_order_gives_the_same_rows(self, store: Store) -> None:
        for day, content in ((SECOND, rows(2)), (FIRST, rows(1)), (SECOND, rows(2)), (FIRST, rows(1))):
            store.replace_partition(TABLE, day, content)
        assert numbers(store) == [(1, FIRST), (2, SECOND)]

    def test_only_the_wanted_days_and_columns_are_read(self, store: Store) -> None:
        for day, number in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
            store.replace_partition(TABLE, day, rows(number))
        assert numbers(store, days=[THIRD, FIRST]) == [(1, FIRST), (3, THIRD)]
        assert store.read(TABLE, columns=["day"]).columns == ["day"]
        assert store.read(TABLE, days=[date(2014, 1, 1)]).height == 0
        assert store.read(TABLE, days=[]).height == 0

    def test_an_earlier_version_stays_readable(self, store: Store) -> None:
        first = store.replace_partition(TABLE, FIRST, rows(1))
        second = store.replace_partition(TABLE, FIRST, rows(2))
        assert second > first
        assert numbers(store, version=first) == [(1, FIRST)]
        assert store.version(TABLE) == second

    def test_restoring_makes_the_old_rows_the_newest_version(self, store: Store) -> None:
        good = store.replace_partition(TABLE, FIRST, rows(1))
        bad = store.replace_partition(TABLE, FIRST, rows(99))
        store.replace_partition(TABLE, SECOND, rows(2))
        restored = store.restore(TABLE, good)
        assert numbers(store) == [(1, FIRST)]
        assert restored == store.version(TABLE)
        assert numbers(store, version=bad) == [(99, FIRST)]
        assert store.changed_days(TABLE, restored - 1) == {FIRST, SECOND}

    def test_changed_days_are_those_replaced_since_a_version(self, store: Store) -> None:
        seen = store.replace_partition(TABLE, FIRST, rows(1))
        assert store.changed_days(TABLE, seen) == set()
        store.replace_partition(TABLE, SECOND, rows(2))
        store.replace_partition(TABLE, THIRD, rows(3))
        store.replace_partition(TABLE, THIRD, rows())
        assert store.changed_days(TABLE, seen) == {SECOND, THIRD}
        assert store.changed_days(TABLE, None) == {FIRST, SECOND}

    def test_an_empty_day_keeps_the_columns_and_is_no_day(self, store: Store) -> None:
        store.replace_partition(TABLE, FIRST, rows())
        assert store.days(TABLE) == []
        assert store.read(TABLE).schema == {**rows().schema, "day": pl.Date}
        store.replace_partition(TABLE, FIRST, rows(1))
        store.replace_partition(TABLE, SECOND, rows())
        assert store.days(TABLE) == [FIRST]

    def test_a_table_that_is_not_there_has_no_days_and_no_version_and_is_refused_when_read(self, store: Store) -> None:
        assert store.days(TABLE) == []
        assert store.version(TABLE) is None
        assert store.changed_days(TABLE, None) == set()
        with pytest.raises(Refused, match="no table raw/flights"):
            store.read(TABLE)
        with pytest.raises(Refused, match="no table raw/flights"):
            store.restore(TABLE, 1)

    def test_an_unknown_column_or_version_is_refused_by_name(self, store: Store) -> None:
        store.replace_partition(TABLE, FIRST, rows(1))
        with pytest.raises(Refused, match="no column 'speed', 'height'"):
            store.read(TABLE, columns=["speed", "flight", "height"])
        with pytest.raises(Refused, match="no version 77"):
            store.read(TABLE, version=77)
        with pytest.raises(Refused, match="no version 77"):
            store.restore(TABLE, 77)

    def test_a_new_column_is_added_and_a_lacking_one_is_null(self, store: Store) -> None:
        store.replace_partition(TABLE, FIRST, rows(1))
        store.replace_partition(TABLE, SECOND, pl.DataFrame({"gate": ["B7"], "flight": [2]}))
        read = store.read(TABLE)
        assert read.columns == ["flight", "carrier", "time_hour", "gate", "day"]
        assert read["gate"].to_list() == [None, "B7"]
        assert read["carrier"].to_list() == ["UA", None]

    def test_a_column_of_another_type_is_refused_with_every_fault_and_nothing_is_written(self, store: Store) -> None:
        before = store.replace_partition(TABLE, FIRST, rows(1))
        wrong = pl.DataFrame({"flight": ["two"], "carrier": [2.5], "gate": [None], "day": [THIRD]})
        with pytest.raises(Refused) as refusal:
            store.replace_partition(TABLE, SECOND, wrong)
        assert refusal.value.reasons == [
            "rows have another day than 2013-01-02",
            "column 'flight' is String, but the table has Int64",
            "column 'carrier' is Float64, but the table has String",
            "column 'gate' is all null and has no type; cast it to a type",
        ]
        assert store.version(TABLE) == before

    def test_a_day_column_that_is_no_date_is_refused(self, store: Store) -> None:
        with pytest.raises(Refused, match="column 'day' is Int64"):
            store.replace_partition(TABLE, FIRST, rows(1).with_columns(day=pl.lit(1, pl.Int64)))
        store.replace_partition(TABLE, FIRST, rows(1).with_columns(day=pl.lit(FIRST)))
        assert numbers(store) == [(1, FIRST)]

    def test_types_are_stored_alike_whoever_writes_them(self, store: Store) -> None:
        narrow = rows(1).with_columns(
            pl.col("flight").cast(pl.Int16),
            pl.col("carrier").cast(pl.Categorical),
            pl.col("time_hour").cast(pl.Datetime("ns", "UTC")),
        )
        store.replace_partition(TABLE, FIRST, narrow)
        store.replace_partition(TABLE, SECOND, rows(2))
        assert store.read(TABLE).schema == {**rows().schema, "day": pl.Date}

    @pytest.mark.parametrize(
        ("stored", "changed"),
        [
            (pl.Series([1, 2], dtype=pl.Int64), pl.Series(["12", "x"])),
            (pl.Series(["1"]), pl.Series([12])),
            (pl.Series([1]), pl.Series([True])),
            (pl.Series([1.5]), pl.Series(["1.5"])),
            (pl.Series([1]), pl.Series([1 << 63], dtype=pl.UInt64)),
            (pl.Series([1.5]), pl.Series([1])),
            (pl.Series([datetime(2013, 1, 1)]), pl.Series([1], dtype=pl.Datetime("ns"))),  # noqa: DTZ001
            (pl.Series([datetime(2013, 1, 1)]), pl.Series(["2013-01-01"])),  # noqa: DTZ001
            (pl.Series([(1 << 53) + 1]), pl.Series([1.5])),
        ],
    )
    def test_a_value_that_would_not_stay_the_same_is_refused_and_never_converted(
        self, store: Store, stored: pl.Series, changed: pl.Series
    ) -> None:
        store.replace_partition(TABLE, FIRST, pl.DataFrame({"value": stored}))
        before = store.read(TABLE)
        with pytest.raises(Refused, match="value"):
            store.replace_partition(TABLE, SECOND, pl.DataFrame({"value": changed}))
        assert store.read(TABLE).equals(before)

    def test_integers_become_numbers_with_the_first_number_and_no_day_counts_as_changed(self, store: Store) -> None:
        store.replace_partition(TABLE, FIRST, pl.DataFrame({"value": [1, None, 1 << 53]}))
        before = store.version(TABLE)
        store.replace_partition(TABLE, SECOND, pl.DataFrame({"value": [1.5]}))
        expected = [(1.0, FIRST), (None, FIRST), (float(1 << 53), FIRST), (1.5, SECOND)]
        assert list(store.read(TABLE).iter_rows()) == expected
        assert store.changed_days(TABLE, before) == {SECOND}
        assert store.read(TABLE, version=before).schema["value"] == pl.Int64

    def test_a_day_made_from_an_older_version_of_its_input_is_a_conflict(self, store: Store) -> None:
        assert store.input_version(TABLE, FIRST) is None
        first = store.replace_partition(TABLE, FIRST, rows(1), input_version=4)
        store.replace_partition(TABLE, SECOND, rows(2), input_version=2)
        with pytest.raises(Conflict, match="from version 4 of its input, newer than 3"):
            store.replace_partition(TABLE, FIRST, rows(3), input_version=3)
        assert numbers(store) == [(1, FIRST), (2, SECOND)]
        store.replace_partition(TABLE, FIRST, rows(5), input_version=6)
        assert [store.input_version(TABLE, FIRST, version=version) for version in (first, None)] == [4, 6]
        store.replace_partition(TABLE, FIRST, rows(6))
        before = store.replace_partition(TABLE, SECOND, rows(2), input_version=3)
        store.replace_partition(TABLE, SECOND, None, input_version=7)
        assert store.changed_days(TABLE, before) == set()
        with pytest.raises(Conflict):
            store.replace_partition(TABLE, SECOND, rows(2), input_version=6)
        assert (store.input_version(TABLE, FIRST), store.input_version(TABLE, SECOND)) == (6, 7)
        assert numbers(store) == [(6, FIRST), (2, SECOND)]

    def test_a_partition_is_committed_with_a_record_unless_it_was_written_since(self, store: Store) -> None:
        assert store.partition_records(TABLE) == {}
        first = store.commit_partition(TABLE, FIRST, rows(1), record="one", since=None)
        second = store.commit_partition(TABLE, SECOND, rows(2), record="two", since=first)
        with pytest.raises(Conflict, match="2013-01-01 of"):
            store.commit_partition(TABLE, FIRST, rows(9), record="nine", since=None)
        third = store.commit_partition(TABLE, FIRST, rows(3), record="three", since=first)
        assert numbers(store) == [(3, FIRST), (2, SECOND)]
        assert store.partition_records(TABLE) == {
            f"{FIRST}": PartitionRecord(version=third, record="three"),
            f"{SECOND}": PartitionRecord(version=second, record="two"),
        }
        assert store.partition_records(TABLE, version=second)[f"{FIRST}"].record == "one"

    def test_a_record_can_change_alone_and_a_partition_that_is_emptied_keeps_one(self, store: Store) -> None:
        store.commit_partition(TABLE, FIRST, rows(), record="none yet", since=None)
        since = store.commit_partition(TABLE, SECOND, rows(2), record="two", since=store.version(TABLE))
        last = store.commit_partition(TABLE, SECOND, None, record="two again", since=since)
        assert numbers(store) == [(2, SECOND)]
        assert store.changed_days(TABLE, since) == set()
        assert store.version(TABLE) == last
        assert {key: each.record for key, each in store.partition_records(TABLE).items()} == {
            f"{FIRST}": "none yet",
            f"{SECOND}": "two again",
        }
        with pytest.raises(Conflict):
            store.commit_partition(TABLE, SECOND, None, record="late", since=since)

    def test_rows_written_without_a_record_have_none_and_restored_ones_have_theirs_of_then(self, store: Store) -> None:
        good = store.commit_partition(TABLE, FIRST, rows(1), record="good", since=None)
        store.commit_partition(TABLE, FIRST, rows(9), record="bad", since=good)
        store.replace_partition(TABLE, SECOND, rows(2))
        assert store.partition_records(TABLE)[f"{SECOND}"].record is None
        restored = store.restore(TABLE, good)
        assert store.partition_records(TABLE)[f"{FIRST}"] == PartitionRecord(version=restored, record="good")
        store.replace_partition(TABLE, FIRST, rows(1))
        assert store.partition_records(TABLE)[f"{FIRST}"].record is None

    def test_files_are_put_got_listed_and_deleted_by_path_and_by_uri(self, store: Store) -> None:
        uri = store.put("profiles/a/2013-01-01.json", b"one")
        store.put("profiles/a/2013-01-01.json", b"two")
        store.put("profiles/ab.json", b"three")
        assert store.get("profiles/a/2013-01-01.json") == store.get(uri) == b"two"
        assert store.uri("profiles/a/2013-01-01.json") == uri
        assert store.list("profiles/a") == ["profiles/a/2013-01-01.json", "profiles/ab.json"]
        assert store.list("profiles/a/") == ["profiles/a/2013-01-01.json"]
        assert store.list("nothing/here/") == []
        assert store.exists(uri)
        assert not store.exists("profiles/a")
        store.delete("profiles/ab.json")
        store.delete("profiles/ab.json")
        assert store.list("") == ["profiles/a/2013-01-01.json"]

    def test_a_stamp_changes_with_its_file_and_with_no_other(self, store: Store) -> None:
        store.put("landing/a/1.csv", b"one")
        store.put("landing/a/2.csv", b"two")
        before = store.stamps("landing/a/")
        store.put("landing/a/2.csv", b"three")
        after = store.stamps("landing/a/")
        assert list(before) == list(after) == store.list("landing/a/")
        assert [path for path in before if before[path] != after[path]] == ["landing/a/2.csv"]

    def test_a_file_that_is_not_there_is_refused(self, store: Store) -> None:
        with pytest.raises(Refused, match=r"profiles/none\.json"):
            store.get("profiles/none.json")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "", "s3://elsewhere/x"])
def test_a_path_that_leaves_the_store_is_refused(folder: DeltaStore, path: str) -> None:
    with pytest.raises(Refused, match="not inside the store"):
        folder.put(path, b"")


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_litter(
    folder: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put("a/file.json", b"old")

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Unavailable, match="No space left"):
        folder.put("a/file.json", b"new")
    assert folder.get("a/file.json") == b"old"
    assert os.listdir(Path(folder.root, "a")) == ["file.json"]


def test_a_draft_left_by_a_killed_writer_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".a.json.123.tmp").write_bytes(b"half")
    assert LocalFiles(str(tmp_path)).list("") == []


def test_a_storage_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    store = DeltaStore(str(tmp_path / "store"))
    with pytest.raises(Unavailable, match="does not answer"):
        store.replace_partition(TABLE, FIRST, rows(1))
    with pytest.raises(Unavailable, match="does not answer"):
        store.put("a.json", b"")


def test_a_lost_data_file_is_refused_with_the_name_of_the_table(folder: DeltaStore) -> None:
    folder.replace_partition(TABLE, FIRST, rows(1))
    for part in Path(folder.root).rglob("*.parquet"):
        part.unlink()
    with pytest.raises(Refused, match="raw/flights"):
        folder.read(TABLE)


def test_only_the_files_of_the_wanted_day_are_opened(folder: DeltaStore) -> None:
    folder.replace_partition(TABLE, FIRST, rows(1))
    folder.replace_partition(TABLE, SECOND, rows(2))
    for part in Path(folder.root).rglob("day=2013-01-02/*.parquet"):
        part.write_bytes(b"not parquet")
    assert numbers(folder, days=[FIRST]) == [(1, FIRST)]


def test_a_table_that_a_rival_created_meanwhile_keeps_its_types(
    folder: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.replace_partition(TABLE, FIRST, pl.DataFrame({"value": ["a"]}))
    opened = folder._open_table
    answers = iter([None])  # the rival's table appears after this writer has looked for one
    monkeypatch.setattr(folder, "_open_table", lambda table, version=None: next(answers, opened(table, version)))
    with pytest.raises(Refused, match="column 'value' is Int64, but the table has String"):
        folder.replace_partition(TABLE, SECOND, pl.DataFrame({"value": [12]}))
    assert folder.read(TABLE)["value"].to_list() == ["a"]


def test_a_day_that_is_written_while_a_column_is_widened_is_not_left_behind(
    folder: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.replace_partition(TABLE, FIRST, pl.DataFrame({"value": [1]}))
    opened, stale = folder._open_table, iter([folder._open_table(TABLE)])
    folder.replace_partition(TABLE, SECOND, pl.DataFrame({"value": [2]}))
    monkeypatch.setattr(folder, "_open_table", lambda table, version=None: next(stale, None) or opened(table, version))
    folder.replace_partition(TABLE, THIRD, pl.DataFrame({"value": [2.5]}))
    assert list(folder.read(TABLE).iter_rows()) == [(1.0, FIRST), (2.0, SECOND), (2.5, THIRD)]


def test_a_commit_of_an_unknown_hand_counts_every_day_as_changed(folder: DeltaStore) -> None:
    folder.replace_partition(TABLE, FIRST, rows(1))
    seen = folder.replace_partition(TABLE, SECOND, rows(2))
    DeltaTable(folder.uri("tables/raw/flights")).delete("flight = 2")
    assert folder.changed_days(TABLE, seen) == {FIRST}
    DeltaTable(folder.uri("tables/raw/flights")).optimize.compact()
    assert folder.changed_days(TABLE, seen + 1) == set()


def _write(root: str, task: tuple[date, list[int]]) -> int:
    day, content = task
    return DeltaStore(root).replace_partition(TABLE, day, rows(*content))


@pytest.fixture(scope="module")
def rivals() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(4, mp_context=RIVALS) as pool:
        yield pool


def test_rival_processes_that_write_different_days_of_a_new_table_lose_nothing(
    rivals: ProcessPoolExecutor, tmp_path: Path
) -> None:
    days = [FIRST + timedelta(days=number) for number in range(16)]
    tasks = [(day, [number, number]) for number, day in enumerate(days)]
    versions = list(rivals.map(_write, [str(tmp_path)] * len(tasks), tasks))
    store = DeltaStore(str(tmp_path))
    assert numbers(store) == [(number, day) for number, day in enumerate(days) for _ in range(2)]
    assert len(set(versions)) == len(days)


def test_rival_processes_that_replace_one_day_leave_exactly_one_content(
    rivals: ProcessPoolExecutor, tmp_path: Path
) -> None:
    tasks = [(FIRST, [number] * (number + 1)) for number in range(12)]
    list(rivals.map(_write, [str(tmp_path)] * len(tasks), tasks))
    found = [number for number, _ in numbers(DeltaStore(str(tmp_path)))]
    assert found == [found[0]] * (found[0] + 1)
