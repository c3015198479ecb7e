"""A snapshot holds what was known by its moment, under a name that its content gives it."""

from __future__ import annotations

import hashlib
import struct
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.training import SnapshotRequest, SnapshotResult
from pipelines.spec.model import ModelSpec
from pipelines.steps.features.compute import compute_features
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.steps.take_snapshot import read_snapshot, run
from pipelines.testing.ports import FakePorts, MemoryStore
from tests.steps.flights_by_hand import DATASET, VIEW, catalog, flight, model, random_days, tables, utc

FIRST = date(2013, 6, 3)
END = utc("2013-06-08 04:00")


def fill(store: MemoryStore, frames: dict[str, pl.DataFrame]) -> None:
    days = sorted(set(frames["flights"]["day"]))
    features = compute_features(VIEW, frames, days, DATASET)
    for day in days:
        store.replace_partition("validated/flights.flights", day, frames["flights"].filter(day=day).drop("day"))
        store.replace_partition("features/flight_delay", day, features.filter(day=day).drop("day"))


def given(tmp_path: Path, frames: dict[str, pl.DataFrame] | None = None, spec: ModelSpec | None = None) -> FakePorts:
    ports = FakePorts.make(tmp_path, catalog=catalog(spec or model()))
    fill(ports.store, frames or random_days(11, FIRST, days=4, per_day=60))
    return ports


def take(ports: FakePorts, as_of: datetime = END, name: str = "flight_delay") -> tuple[SnapshotResult, pl.DataFrame]:
    result = run(SnapshotRequest(model=name, as_of=as_of), ports)
    return result, read_snapshot(ports.store, name, result.digest)


def test_it_holds_key_times_features_target_and_part_of_every_labelled_row(tmp_path: Path) -> None:
    result, frame = take(given(tmp_path))
    assert frame.columns[:3] == VIEW.key
    assert frame.columns[-2:] == ["target", "part"]
    assert set(frame.columns) == {*VIEW.key, "prediction_time", "label_time", *VIEW.features, "target", "part"}
    assert result.features == list(VIEW.features)
    assert result.rows == frame.height == sum(part.rows for part in result.parts.values()) > 100
    assert result.table_versions == {"features/flight_delay": 4, "validated/flights.flights": 4}
    assert set(frame["target"]) == {0.0, 1.0}
    assert frame["prediction_time"].is_sorted()


def test_the_same_request_on_the_same_tables_gives_the_same_name_and_bits_on_any_store(tmp_path: Path) -> None:
    one, other = given(tmp_path), given(tmp_path)
    (first, frame), (second, again) = take(one), take(other)
    assert first == second
    assert_frame_equal(frame, again, check_exact=True)
    assert one.store.files == other.store.files


def test_a_snapshot_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    ports = given(tmp_path)
    take(ports)
    before = dict(ports.store.files)
    result, _ = take(ports, END + timedelta(days=3))
    assert ports.store.files == before
    assert result.as_of == END + timedelta(days=3)


def test_a_label_counts_from_the_moment_it_is_known_and_not_before(tmp_path: Path) -> None:
    frames = tables([flight("2013-06-03 15:00", 1, delay=30, air_time=60), flight("2013-06-03 15:00", 2, delay=None)])
    ports = given(tmp_path, frames)
    known = utc("2013-06-03 17:30")
    assert take(ports, known - timedelta(seconds=1))[0].rows == 0
    result, frame = take(ports, known)
    assert frame["flight"].to_list() == [1]
    assert result.latest_label_time == known


def test_a_corrected_label_gives_another_snapshot_and_the_old_one_still_reads(tmp_path: Path) -> None:
    frames = random_days(11, FIRST, days=4, per_day=60)
    ports = given(tmp_path, frames)
    first, before = take(ports)
    frames["flights"] = frames["flights"].with_columns(arr_delay=pl.col("arr_delay") + 20)
    fill(ports.store, frames)
    second, _ = take(ports)
    assert second.digest != first.digest
    assert_frame_equal(read_snapshot(ports.store, "flight_delay", first.digest), before, check_exact=True)


def test_only_the_declared_days_of_history_are_used(tmp_path: Path) -> None:
    ports = given(tmp_path, spec=model(history_days=2))
    as_of = utc("2013-06-06 04:00")
    _, frame = take(ports, as_of)
    assert frame["prediction_time"].min() >= as_of - timedelta(days=2)  # type: ignore[operator]
    assert frame.height > 20


@pytest.mark.parametrize("declared", [2, 3, None])
def test_the_newest_days_alone_are_asked_for_within_the_declared_history(tmp_path: Path, declared: int | None) -> None:
    ports = given(tmp_path, spec=model(history_days=declared))
    newest = run(SnapshotRequest(model="flight_delay", as_of=END, recent_days=3), ports)
    assert newest.parts["train"].first is not None
    assert END - newest.parts["train"].first <= timedelta(days=min(3, declared or 3))


def test_a_model_may_use_some_of_the_features_and_a_number_as_its_target(tmp_path: Path) -> None:
    spec = model("arrival_delay_minutes", features=["distance", "carrier"])
    result, frame = take(given(tmp_path, spec=spec), name="arrival_delay_minutes")
    assert result.features == ["carrier", "distance"]
    assert "temp" not in frame.columns
    assert frame["target"].n_unique() > 5
    assert {part.positives for part in result.parts.values()} == {None}


def test_the_measures_are_those_of_the_parts(tmp_path: Path) -> None:
    result, frame = take(given(tmp_path))
    for name, part in result.parts.items():
        rows = frame.filter(part=name)
        assert (part.rows, part.positives) == (rows.height, rows["target"].sum())
        assert (part.first, part.last) == (rows["prediction_time"].min(), rows["prediction_time"].max())
    assert result.parts["train"].last < result.parts["validation"].first  # type: ignore[operator]


def test_an_altered_snapshot_is_refused_by_name(tmp_path: Path) -> None:
    ports = given(tmp_path)
    result, frame = take(ports)
    content = BytesIO()
    frame.with_columns(target=1 - pl.col("target")).write_parquet(content)
    ports.store.put(store_paths.snapshot("flight_delay", result.digest, "data.parquet"), content.getvalue())
    with pytest.raises(Refused, match="was altered"):
        read_snapshot(ports.store, "flight_delay", result.digest)


def test_an_unknown_snapshot_missing_tables_and_a_moment_without_zone_are_refused(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, catalog=catalog())
    with pytest.raises(Refused, match="no snapshot abc"):
        read_snapshot(ports.store, "flight_delay", "abc")
    with pytest.raises(Refused, match="build features first"):
        take(ports)
    with pytest.raises(Refused, match="time zone"):
        take(ports, datetime(2013, 6, 8))  # noqa: DTZ001 - the point of the test


CANONICAL = pl.DataFrame(
    {"flight": [1, None], "moment": [utc("2013-03-01 10:00"), None], "name": ["é", None], "x": [0.5, None]}
    | {"late": [True, None], "day": [date(2013, 3, 1), None]},
    schema_overrides={"moment": pl.Datetime("us", "UTC")},
)


def test_the_digest_of_a_table_is_that_of_its_canonical_form() -> None:
    seen = {
        "flight|integer": struct.pack("<qq", 1, 0),
        "moment|timestamp": struct.pack("<qq", 1_362_132_000_000_000, 0),
        "name|string": struct.pack("<qq", 2, 0) + "é".encode(),
        "x|number": struct.pack("<dd", 0.5, 0.0),
        "late|boolean": b"\x01\x00",
        "day|date": struct.pack("<qq", 15_765, 0),
    }
    form = b"airworthy.table.1\n2 rows\n"
    form += b"".join(name.encode() + b"\n" + b"\x01\x00" + content for name, content in seen.items())
    assert table_digest(CANONICAL) == hashlib.sha256(form).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        pl.col("flight").fill_null(0),
        pl.col("name").fill_null(""),
        pl.col("x").fill_null(0.0),
        pl.col("late").fill_null(False),
        pl.col("flight").cast(pl.Float64),
        pl.col("flight").alias("number"),
    ],
)
def test_any_other_value_type_or_name_is_another_digest(change: pl.Expr) -> None:
    assert table_digest(CANONICAL.with_columns(change)) != table_digest(CANONICAL)


def test_how_a_table_lies_in_memory_is_not_its_content() -> None:
    pieces = pl.concat([CANONICAL[:1], CANONICAL[1:]], rechunk=False)
    assert table_digest(pieces) == table_digest(CANONICAL)
    assert table_digest(pl.DataFrame({"x": [-0.0]})) == table_digest(pl.DataFrame({"x": [0.0]}))


def test_a_column_without_canonical_form_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="'reasons'"):
        table_digest(pl.DataFrame({"reasons": [["a"]]}))
