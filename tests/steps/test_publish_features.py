"""Nothing that was not judged is readable in a feature table: old or new content, whoever builds and is killed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused, Unavailable
from pipelines.messages.features import FeaturesRequest, PublishFeaturesRequest
from pipelines.messages.training import SnapshotRequest
from pipelines.ports import Store
from pipelines.rules.training_snapshot import judge_snapshot
from pipelines.spec.features import Constraints, DirectColumn, FeatureView
from pipelines.steps import build_features, publish_features, take_snapshot
from pipelines.steps.features.staleness import feature_records, stale_days
from pipelines.testing.ports import FakePorts, MemoryStore
from tests.steps.built_features import Built, build_view
from tests.steps.flights_by_hand import VIEW, catalog, flight, limited, model, observation, random_days, tables, utc

DAY = date(2013, 6, 3)
DAYS = [DAY + timedelta(days=number) for number in range(3)]
TABLE = "features/flight_delay"
GOOD = random_days(4, DAY, days=3, per_day=30)
BAD_TEMPERATURE = -9999.0
LIMITED = limited(temp=Constraints(min=-100))


def bad(*days: date) -> dict[str, pl.DataFrame]:
    """The same deliveries, but the thermometer of these days was broken."""
    broken = pl.when(pl.col("day").is_in(days)).then(BAD_TEMPERATURE).otherwise("temp").alias("temp")
    return GOOD | {"weather": GOOD["weather"].with_columns(broken)}


def ports_of(tmp_path: Path, store: Any = None) -> FakePorts:
    return FakePorts.make(tmp_path, catalog=catalog(model(), view=LIMITED), store=store or MemoryStore())


def publish(store: Store, frames: dict[str, pl.DataFrame], *days: date) -> None:
    for day in days:
        for source, frame in frames.items():
            if (rows := frame.filter(day=day)).height:
                store.replace_partition(store_paths.validated("flights", source), day, rows.drop("day"))


def arrive(ports: FakePorts, frames: dict[str, pl.DataFrame], day: date) -> Built:
    publish(ports.store, frames, day)
    return build_view(ports, "flight_delay", day)


def content(store: Store, day: date) -> list[tuple[Any, ...]]:
    return store.read(TABLE, days=[day]).sort(*VIEW.key).rows() if store.version(TABLE) is not None else []


def staged_files(store: Store) -> list[str]:
    return store.list("staged_features/")


def test_a_day_that_breaks_a_constraint_is_neither_readable_nor_trained_on(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    for day in DAYS:
        arrive(ports, bad(DAYS[1]), day)
    assert ports.store.days(TABLE) == [DAYS[0], DAYS[2]]
    assert not ports.store.exists(store_paths.profile(TABLE, DAYS[1]))
    assert BAD_TEMPERATURE not in ports.store.read(TABLE)["temp"]
    taken = take_snapshot.run(SnapshotRequest(model="flight_delay", as_of=utc("2013-06-08 04:00")), ports)
    frame = take_snapshot.read_snapshot(ports.store, "flight_delay", taken.digest)
    assert frame.height
    assert BAD_TEMPERATURE not in frame["temp"]
    [(missing, reasons)] = taken.missing_days.items()
    assert (missing, reasons) == (DAYS[1], ["temp: minimum -9999 < -100"])
    findings = judge_snapshot(taken, ports.catalog.model("flight_delay")).findings
    assert "1 validated day has no features: 2013-06-04 (temp: minimum -9999 < -100)" in findings


def test_a_refused_rebuild_removes_the_published_day_and_records_why(tmp_path: Path) -> None:
    ports = ports_of(tmp_path, DeltaStore(str(tmp_path / "store")))
    for day in DAYS:
        arrive(ports, GOOD, day)
    before = {day: content(ports.store, day) for day in DAYS}
    result = arrive(ports, bad(DAYS[1]), DAYS[1])
    assert ports.store.days(TABLE) == [DAYS[0], DAYS[2]]
    record = feature_records(ports.store, TABLE)[DAYS[1]]
    assert record.refused == ["temp: minimum -9999 < -100"]
    assert record.digest == result.partitions[DAYS[1]].digest
    assert staged_files(ports.store) == []
    mended = arrive(ports, GOOD, DAYS[1])
    assert {day: content(ports.store, day) for day in DAYS} == before
    assert DAYS[1] in mended.appeared


def test_a_late_day_that_breaks_the_constraint_of_a_later_one_removes_that_one(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    rows = [flight("2013-06-04 15:00", 1), flight("2013-06-05 05:00", 2)]
    good, broken = (  # of the evening before the second flight, in New York
        tables(rows, [observation("2013-06-05 02:00", temp=temperature)]) for temperature in (60.0, BAD_TEMPERATURE)
    )
    arrive(ports, {"flights": good["flights"]}, DAYS[2])
    assert ports.store.days(TABLE) == [DAYS[2]]
    arrive(ports, broken, DAYS[1])
    assert ports.store.days(TABLE) == [DAYS[1]]
    assert feature_records(ports.store, TABLE)[DAYS[2]].refused == ["temp: minimum -9999 < -100"]
    assert arrive(ports, good, DAYS[1]).appeared == {DAYS[2]}
    assert ports.store.read(TABLE, days=[DAYS[2]])["temp"].to_list() == [60.0]


def test_a_commit_names_the_digest_of_its_rows_its_inputs_and_its_definitions(tmp_path: Path) -> None:
    ports = ports_of(tmp_path, DeltaStore(str(tmp_path / "store")))
    built = arrive(ports, GOOD, DAY).partitions[DAY]
    record = feature_records(ports.store, TABLE)[DAY]
    assert record.inputs == {
        f"validated/flights.{name}": ports.store.version(f"validated/flights.{name}") for name in GOOD
    }
    assert record.definition_digests == VIEW.definition_digests()
    assert (record.digest, record.rows, record.refused) == (built.digest, built.rows, [])


def test_staged_rows_that_were_altered_are_refused_and_nothing_is_published(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    publish(ports.store, GOOD, *DAYS)
    result = build_features.run(FeaturesRequest(view="flight_delay", day=DAY), ports)
    other = build_features.run(FeaturesRequest(view="flight_delay", day=DAYS[1]), ports)
    ports.store.put(result.partitions[0].staged, ports.store.get(other.partitions[0].staged))
    with pytest.raises(Refused, match="is not what was judged"):
        publish_features.run(PublishFeaturesRequest(view="flight_delay", partitions=result.partitions), ports)
    assert ports.store.version(TABLE) is None


def test_of_two_builds_the_one_with_the_newest_inputs_wins_whoever_commits_last(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    publish(ports.store, bad(DAY), DAY)
    old = build_features.run(FeaturesRequest(view="flight_delay", day=DAY), ports)
    arrive(ports, GOOD, DAY)
    newest = content(ports.store, DAY)
    for reasons in ([], ["temp: minimum -9999 < -100"]):
        ports.store.put(old.partitions[0].staged, b"")
        again = build_features.run(FeaturesRequest(view="flight_delay", day=DAY), ports)
        older = old.partitions[0].model_copy(
            update={"staged": again.partitions[0].staged, "digest": again.partitions[0].digest}
        )
        request = PublishFeaturesRequest(
            view="flight_delay", partitions=[older], refused={DAY: reasons} if reasons else {}
        )
        assert publish_features.run(request, ports).outdated == [DAY]
        assert content(ports.store, DAY) == newest


class KilledAt:
    """A store whose caller is killed before its n-th change of the store."""

    class Kill(BaseException):
        pass

    def __init__(self, store: Any, changes: int) -> None:
        self._store, self._changes = store, changes

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._store, name)
        if name not in ("put", "delete", "replace_partition", "commit_partition"):
            return method

        def change(*arguments: Any, **named: Any) -> Any:
            self._changes -= 1
            if self._changes < 0:
                raise self.Kill
            return method(*arguments, **named)

        return change


@pytest.mark.parametrize("refused", [False, True], ids=["accepted", "refused"])
def test_a_build_killed_at_any_point_leaves_the_old_or_the_new_judged_content(tmp_path: Path, refused: bool) -> None:
    old = GOOD | {"weather": GOOD["weather"].with_columns(pl.col("temp") + 1)}
    new = bad(DAYS[1]) if refused else GOOD
    killed, first = 0, MemoryStore()
    for day in DAYS:
        arrive(ports_of(tmp_path, first), old, day)
    before = {day: content(first, day) for day in DAYS}
    publish(first, new, DAYS[1])
    while True:
        store = deepcopy(first)
        ports, finished = ports_of(tmp_path, KilledAt(store, killed)), True
        try:
            build_view(ports, "flight_delay", DAYS[1])
        except KilledAt.Kill:
            finished = False
        left = {day: content(store, day) for day in DAYS}
        build_view(ports_of(tmp_path, store), "flight_delay", DAYS[1])
        after = {day: content(store, day) for day in DAYS}
        assert after != before
        assert all(left[day] in (before[day], after[day]) for day in DAYS)
        assert staged_files(store) == []
        assert {day: store.exists(store_paths.profile(TABLE, day)) for day in DAYS} == {
            day: bool(after[day]) for day in DAYS
        }
        if finished:
            break
        killed += 1
    assert killed >= 4  # staged, committed, profiled, and the staged rows deleted


def test_many_builds_of_good_and_bad_deliveries_at_once_end_with_the_last_delivery_of_each_day(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path / "store"))
    deliveries = [(bad(*DAYS), day) for day in DAYS] + [(GOOD, day) for day in DAYS]

    def deliver(day: date) -> None:
        for frames, on in deliveries:
            if on == day:
                arrive(ports_of(tmp_path, store), frames, day)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(deliver, DAYS))
    expected = MemoryStore()
    for day in DAYS:
        arrive(ports_of(tmp_path, expected), GOOD, day)
    assert {day: content(store, day) for day in DAYS} == {day: content(expected, day) for day in DAYS}
    assert staged_files(store) == []


@pytest.mark.parametrize("source", ["flights", "weather", "planes"])
def test_days_built_before_a_validated_table_was_restored_are_stale_and_built_again(
    tmp_path: Path, source: str
) -> None:
    ports, table = ports_of(tmp_path, DeltaStore(str(tmp_path / "store"))), f"validated/flights.{source}"
    for day in DAYS:
        arrive(ports, GOOD, day)
    right, good = {day: content(ports.store, day) for day in DAYS}, ports.store.version(table)
    changes = {"flights": "dep_delay", "weather": "temp", "planes": "seats"}
    corrupted = GOOD | {source: GOOD[source].with_columns(pl.col(changes[source]) + 1)}
    arrive(ports, corrupted, DAYS[0])
    assert {day: content(ports.store, day) for day in DAYS} != right
    assert stale(ports) == {}
    assert good is not None
    ports.store.restore(table, good)
    assert {table} == {name for tables in stale(ports).values() for name in tables}
    assert DAYS[0] in stale(ports)
    with pytest.raises(Unavailable, match=f"were built before {table} changed"):
        take_snapshot.run(SnapshotRequest(model="flight_delay", as_of=utc("2013-06-08 04:00")), ports)
    build_view(ports, "flight_delay", DAYS[2])
    assert stale(ports) == {}
    assert {day: content(ports.store, day) for day in DAYS} == right


def test_a_day_that_a_restore_takes_away_goes_from_the_features_too(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    arrive(ports, GOOD, DAYS[0])
    before = ports.store.version("validated/flights.flights")
    arrive(ports, GOOD, DAYS[1])
    assert before is not None
    ports.store.restore("validated/flights.flights", before)
    assert [*stale(ports)] == [DAYS[1]]
    build_view(ports, "flight_delay", DAYS[0])
    assert (ports.store.days(TABLE), stale(ports)) == ([DAYS[0]], {})


def test_a_late_day_makes_the_days_that_read_it_stale_until_it_is_built(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    for day in (DAYS[0], DAYS[2]):
        arrive(ports, GOOD, day)
    publish(ports.store, GOOD, DAYS[1])
    assert [*stale(ports)] == [DAYS[2]]
    build_view(ports, "flight_delay", DAYS[1])
    assert stale(ports) == {}


def other_version_of_distance() -> FeatureView:
    """It reads another column."""
    feature = LIMITED.features["distance"]
    other = feature.model_copy(update={"version": 2, "transformation": DirectColumn(type="column", column="minute")})
    return LIMITED.model_copy(update={"features": LIMITED.features | {"distance": other}, "former_digests": {}})


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "written before 0.2.0"])
def test_history_is_built_again_by_a_raised_version_before_anything_trains_on_it(
    tmp_path: Path, recorded: bool
) -> None:
    ports = ports_of(tmp_path)
    for day in DAYS:
        arrive(ports, GOOD, day)
        if not recorded:
            ports.store.replace_partition(TABLE, day, ports.store.read(TABLE, days=[day]).drop("day"))
    raised = FakePorts.make(tmp_path, catalog=catalog(model(), view=other_version_of_distance()), store=ports.store)
    request = SnapshotRequest(model="flight_delay", as_of=utc("2013-06-08 04:00"))
    with pytest.raises(
        Unavailable, match=r"3 days of .*, 2013-06-03 to 2013-06-05, were built before distance@2 changed"
    ):
        take_snapshot.run(request, raised)
    build_view(raised, "flight_delay", DAYS[2])
    rows = ports.store.read(TABLE)
    joined = rows.join(ports.store.read("validated/flights.flights"), on=["day", *VIEW.key])
    assert (joined["distance"] == joined["minute"]).all()
    taken = take_snapshot.run(request, raised)
    assert taken.definitions["distance"] == (2, other_version_of_distance().definition_digests()["distance"])


def test_rows_written_without_a_record_are_not_known_to_be_stale(tmp_path: Path) -> None:
    ports = ports_of(tmp_path)
    publish(ports.store, GOOD, DAY)
    ports.store.replace_partition(TABLE, DAY, GOOD["flights"].filter(day=DAY).select(VIEW.key))
    assert stale(ports) == {}


def stale(ports: FakePorts) -> dict[date, list[str]]:
    return stale_days(ports.store, LIMITED, ports.catalog.dataset("flights"))
