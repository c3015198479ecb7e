"""However days arrive, late, twice, corrected or at once, the feature table ends as if all had been there at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused
from pipelines.messages.features import FeatureDefinitions
from pipelines.ports import Store
from pipelines.spec.features import FeatureView
from pipelines.steps.features.compute import compute_features
from pipelines.store_paths import Key
from pipelines.tables.profile import TableProfile, profile_frame
from pipelines.testing.ports import FakePorts, MemoryStore
from tests.steps.built_features import Built, build_view
from tests.steps.flights_by_hand import DATASET, catalog, flight, limited, observation, random_days, tables

VIEW = limited()
FIRST = date(2013, 3, 8)
DAYS = [FIRST + timedelta(days=number) for number in range(5)]
TABLE = "features/flight_delay"
FRAMES = random_days(21, FIRST, days=5, per_day=40)
"""Five days around the lost hour of 10 March; planes landed on the first and the third day."""


def ports_of(tmp_path: Path, store: Any = None, view: FeatureView = VIEW) -> FakePorts:
    return FakePorts.make(tmp_path, catalog=catalog(view=view), store=store or MemoryStore())


def publish(store: Store, frames: dict[str, pl.DataFrame], day: date) -> None:
    for source, frame in frames.items():
        rows = frame.filter(day=day)
        if rows.height:
            store.replace_partition(store_paths.validated("flights", source), day, rows.drop("day"))


def build(ports: FakePorts, day: date) -> Built:
    return build_view(ports, "flight_delay", day)


def arrive(ports: FakePorts, frames: dict[str, pl.DataFrame], day: date) -> Built:
    publish(ports.store, frames, day)
    return build(ports, day)


def table(store: Store) -> pl.DataFrame:
    return store.read(TABLE).sort("day", *VIEW.key)


def assert_right(store: Store, frames: dict[str, pl.DataFrame], days: list[date] = DAYS) -> None:
    """These days of the table equal what one computation over everything gives, bit for bit."""
    whole = compute_features(VIEW, frames, days, DATASET)
    found = table(store).filter(pl.col("day").is_in(days)).select(whole.columns)
    assert_frame_equal(found, whole, check_exact=True)


@pytest.mark.parametrize("seed", range(6))
def test_days_in_any_order_give_the_same_table(tmp_path: Path, seed: int) -> None:
    ports = ports_of(tmp_path)
    for day in random.Random(seed).sample(DAYS, len(DAYS)):
        arrive(ports, FRAMES, day)
    assert_right(ports.store, FRAMES)


def test_a_second_build_of_every_day_writes_nothing(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    for day in DAYS:
        arrive(ports, FRAMES, day)
    version = ports.store.version(TABLE)
    assert [arrive(ports, FRAMES, day).changed for day in DAYS] == [set()] * len(DAYS)
    assert ports.store.changed_days(TABLE, version) == set()
    assert_right(ports.store, FRAMES)


def test_a_late_day_rebuilds_the_days_that_look_back_on_it_and_no_other(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    days = [date(2013, 6, 3) + timedelta(days=number) for number in range(5)]
    frames = random_days(4, days[0], days=5, per_day=20)
    for day in [days[0], *days[2:]]:
        arrive(ports, frames, day)
    assert sorted(arrive(ports, frames, days[1]).partitions) == days[1:4]


@pytest.mark.parametrize("source", ["flights", "weather", "planes"])
def test_a_corrected_source_is_seen_by_every_day_that_uses_it(tmp_path: Path, source: str) -> None:
    ports = ports_of(tmp_path)
    for day in DAYS:
        arrive(ports, FRAMES, day)
    correction = {
        "flights": pl.col("dep_delay") + 1,
        "weather": pl.col("temp").fill_null(0) + 1,
        "planes": pl.col("seats") + 1,
    }[source]
    mended = pl.when(pl.col("day") == DAYS[0]).then(correction).otherwise(correction.meta.root_names()[0])
    name = correction.meta.root_names()[0]
    corrected = FRAMES | {source: FRAMES[source].with_columns(mended.alias(name))}
    before = table(ports.store)
    arrive(ports, corrected, DAYS[0])
    assert not table(ports.store).equals(before)
    assert_right(ports.store, corrected)


def test_days_published_and_built_all_at_once_on_delta_tables_give_the_same_table(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path / "store"))
    shuffled = random.Random(1).sample(DAYS * 2, 2 * len(DAYS))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda day: arrive(ports_of(tmp_path, store), FRAMES, day), shuffled))
    assert_right(store, FRAMES)
    whole = compute_features(VIEW, FRAMES, DAYS, DATASET)
    for day in DAYS:
        profile = TableProfile.model_validate_json(store.get(store_paths.profile(TABLE, day)))
        assert profile == profiled(whole.filter(day=day))


def profiled(frame: pl.DataFrame) -> TableProfile:
    kinds = {name: feature.type for name, feature in VIEW.features.items()}
    categorical = [name for name, kind in kinds.items() if kind == "categorical"]
    return profile_frame(frame, categorical=categorical, numeric=[name for name in kinds if name not in categorical])


class Meddling(MemoryStore):
    """Runs an act right before the given writes of the feature table, as another process might."""

    def __init__(self, acts: list[Callable[[], object]]) -> None:
        super().__init__()
        self.acts = acts

    def commit_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, record: str, since: int | None
    ) -> int:
        if self.acts:
            self.acts.pop(0)()
        return super().commit_partition(table, partition, frame, record=record, since=since)


def test_a_day_that_arrives_and_is_built_while_a_later_one_is_being_built_is_not_missed(tmp_path: Path) -> None:
    store = Meddling([])
    ports = ports_of(tmp_path, store)
    frames = {source: frame.filter(pl.col("day").is_in(DAYS[1:3])) for source, frame in FRAMES.items()}
    publish(store, frames, DAYS[2])
    store.acts = [lambda: arrive(ports, frames, DAYS[1])]
    build(ports, DAYS[2])
    assert_right(store, frames, DAYS[1:3])


def test_an_input_corrected_between_reading_and_writing_is_not_missed(tmp_path: Path) -> None:
    store = Meddling([])
    ports = ports_of(tmp_path, store)
    wrong = FRAMES["flights"].filter(day=DAYS[0]).with_columns(dep_delay=pl.lit(77))
    for day in DAYS:
        publish(store, FRAMES, day)
    publish(store, {"flights": wrong}, DAYS[0])
    store.acts = [lambda: publish(store, FRAMES, DAYS[0])]
    build(ports, DAYS[1])
    assert_right(store, FRAMES, [DAYS[1]])


def test_inputs_that_never_come_to_rest_are_reported_as_try_again_later(tmp_path: Path) -> None:
    store = Meddling([])
    ports = ports_of(tmp_path, store)
    publish(store, FRAMES, DAYS[0])
    rows = FRAMES["flights"].filter(day=DAYS[0])
    store.acts = [
        lambda number=number: publish(store, {"flights": rows.with_columns(distance=pl.lit(number))}, DAYS[0])  # type: ignore[misc]
        for number in range(100)
    ]
    with pytest.raises(AssertionError, match="did not come to rest"):
        build(ports, DAYS[0])


def test_the_result_measures_the_day_and_its_profile_is_kept(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    rows = [flight("2013-03-08 15:00", 1), flight("2013-03-08 15:00", 2, tailnum=None)]
    frames = tables(rows, [observation("2013-03-08 12:00", temp=40.0)], [plane(180)])
    result = arrive(ports, frames, FIRST).partitions[FIRST]
    facts = {found.name: found for found in result.features}
    assert list(facts) == list(VIEW.features)
    assert (facts["temp"].minimum, facts["temp"].maximum, facts["temp"].nulls) == (40, 40, 0)
    assert (facts["plane_seats"].rows, facts["plane_seats"].nulls) == (2, 1)
    assert (result.rows, result.definition_digests) == (2, VIEW.definition_digests())
    profile = TableProfile.model_validate_json(ports.store.get(store_paths.profile(TABLE, FIRST)))
    assert {*profile.numeric, *profile.categorical} == set(VIEW.features)
    assert profile.rows == 2


def plane(seats: int) -> dict[str, Any]:
    return {"day": FIRST, "tailnum": "N1", "year": 2000, "seats": seats}


def test_missing_weather_and_planes_leave_nulls(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    arrive(ports, {"flights": tables([flight("2013-03-08 15:00", 1)])["flights"]}, FIRST)
    row = table(ports.store).row(0, named=True)
    assert (row["temp"], row["plane_seats"]) == (None, None)


def test_a_day_that_is_not_validated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"validated/flights\.flights has no day 2013-03-08"):
        build(ports_of(tmp_path), FIRST)


def changed_view(version: int) -> FeatureView:
    feature = VIEW.features["temp"]
    how = feature.transformation.model_copy(update={"max_age": timedelta(hours=1)})
    other = feature.model_copy(update={"version": version, "transformation": how})
    return VIEW.model_copy(update={"features": VIEW.features | {"temp": other}})


def test_a_changed_definition_without_a_new_version_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    arrive(ports, FRAMES, DAYS[0])
    files, version = dict(ports.store.files), ports.store.version(TABLE)
    publish(ports.store, FRAMES, DAYS[1])
    with pytest.raises(Refused, match="'temp' changed but is still version 1; raise it to 2"):
        build(ports_of(tmp_path, ports.store, changed_view(1)), DAYS[1])
    assert (ports.store.files, ports.store.version(TABLE)) == (files, version)


def test_a_new_version_is_registered_and_the_old_values_still_read(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    before = arrive(ports, FRAMES, DAYS[0]).published
    assert before is not None
    old = table(ports.store)
    newer = ports_of(tmp_path, ports.store, changed_view(2))
    build(newer, DAYS[0])
    stored = ports.store.get(store_paths.definitions("flight_delay"))
    assert FeatureDefinitions.model_validate_json(stored).features["temp"][0] == 2
    assert not table(ports.store).equals(old)
    assert_frame_equal(ports.store.read(TABLE, version=before.version).sort("day", *VIEW.key), old)


def test_a_removed_feature_stays_registered_so_that_it_cannot_return_as_something_else(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    arrive(ports, FRAMES, DAYS[0])
    fewer = VIEW.model_copy(
        update={"features": {name: VIEW.features[name] for name in VIEW.features if name != "temp"}}
    )
    shrunk = ports_of(tmp_path, ports.store, fewer)
    build(shrunk, DAYS[0])
    version = ports.store.version(TABLE)
    build(shrunk, DAYS[0])
    assert ports.store.version(TABLE) == version
    with pytest.raises(Refused, match="'temp'"):
        build(ports_of(tmp_path, ports.store, changed_view(1)), DAYS[0])


def empty_the_day(ports: FakePorts, day: date, source: str = "flights") -> None:
    """Publish the day without a row of the source, as an empty delivery that the contract allows."""
    table_name = store_paths.validated("flights", source)
    rows = FRAMES[source].clear().drop("day")
    ports.store.replace_partition(table_name, day, rows)
    profile = profile_frame(rows, categorical=[], numeric=[])
    ports.store.put(store_paths.profile(table_name, day), profile.model_dump_json().encode())


@pytest.mark.parametrize("first", [True, False])
def test_a_day_published_without_entities_has_no_rows_and_passes(tmp_path: Path, first: bool) -> None:
    ports = ports_of(tmp_path, DeltaStore(str(tmp_path / "store")))
    if not first:
        arrive(ports, FRAMES, DAYS[0])
    day = DAYS[1]
    empty_the_day(ports, day)
    built = build(ports, day)
    result = built.partitions[day]
    assert (result.rows, result.without_entities, built.verdicts[day].passed) == (0, True, True)
    assert day not in ports.store.days(TABLE)


@pytest.mark.parametrize("source", ["flights", "weather"])
def test_a_day_that_loses_all_of_its_rows_is_seen_by_every_day_that_looks_back_on_it(
    tmp_path: Path, source: str
) -> None:
    ports = ports_of(tmp_path)
    for day in DAYS:
        arrive(ports, FRAMES, day)
    empty_the_day(ports, DAYS[1], source)
    build(ports, DAYS[1])
    left = FRAMES | {source: FRAMES[source].filter(pl.col("day") != DAYS[1])}
    assert_right(ports.store, left, DAYS if source == "weather" else [DAYS[0], *DAYS[2:]])


def test_a_day_that_was_never_published_is_still_refused(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    arrive(ports, FRAMES, DAYS[0])
    with pytest.raises(Refused, match="ingest and validate it first"):
        build(ports, DAYS[1])
