"""The test rows on which candidate and champion are compared: neither was trained on any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.features import FeatureRecord
from pipelines.messages.training import SnapshotResult
from pipelines.ports import Ports, VersionInfo
from pipelines.steps.features.former_versions import former_column
from pipelines.steps.features.staleness import feature_records
from pipelines.steps.snapshot.files import SAMPLE_ROWS, open_files
from pipelines.steps.snapshot.split import PARTS
from pipelines.steps.take_snapshot import read_snapshot
from pipelines.tables.entity_id import names_its_time
from pipelines.tables.row_days import row_days

SNAPSHOT_TAG = "airworthy.snapshot"


def snapshot_digest(info: VersionInfo) -> str:
    """Digest of the snapshot a version was trained on. ``Refused`` for a version without that tag."""
    digest = info.tags.get(SNAPSHOT_TAG)
    if not digest:
        raise Refused(f"{info.model} {info.version} has no tag {SNAPSHOT_TAG}; train it by the train step")
    return digest


@dataclass(frozen=True)
class SnapshotFacts:
    """What an evaluation needs of a version's snapshot.

    ``test``: labelled rows of the test part, in order of prediction time; ``test_rows``: their number, of which
    ``test`` is a sample if a snapshot in batches has more than ``SAMPLE_ROWS``; ``trained_until``: the last
    prediction time of its train and validation parts, None if there are none; ``table``: all rows, None if they are
    in batches.
    """

    test: pl.DataFrame
    test_rows: int
    trained_until: datetime | None
    table: pl.DataFrame | None = None

    @property
    def notes(self) -> list[str]:
        if self.test.height >= self.test_rows:
            return []
        return [f"measured on {self.test.height} of {self.test_rows} test rows, drawn evenly over time"]

    def whole_table(self) -> pl.DataFrame:
        """All labelled rows. ``Refused`` for a snapshot in batches, which may be larger than memory."""
        if self.table is None:
            raise Refused("its snapshot is in batches, which are not read as a whole")
        return self.table.filter(pl.col("target").is_not_null())


def read_facts(info: VersionInfo, ports: Ports) -> SnapshotFacts:
    """``Refused`` if the snapshot is gone or was altered."""
    digest = snapshot_digest(info)
    files = open_files(ports.store, info.model, digest)
    if files is None:
        snapshot = read_snapshot(ports.store, info.model, digest)
        test = snapshot.filter((pl.col("part") == "test") & pl.col("target").is_not_null())
        return SnapshotFacts(test, test.height, trained_until(snapshot), snapshot)
    rows = files.sample(SAMPLE_ROWS, "test")
    test_rows = sum(file.rows for file in files.list.files_of_parts("test"))
    return SnapshotFacts(
        rows.sort("prediction_time", maintain_order=True),
        test_rows,
        files.list.last_prediction_time("train", "validation"),
    )


def snapshot_ends(info: VersionInfo, ports: Ports) -> tuple[datetime | None, datetime | None]:
    """Last prediction time of the version's training, and of its whole snapshot.

    ``Refused`` if the snapshot is gone or was altered.
    """
    digest = snapshot_digest(info)
    files = open_files(ports.store, info.model, digest)
    if files is not None:
        return files.list.last_prediction_time("train", "validation"), files.list.last_prediction_time(*PARTS)
    snapshot = read_snapshot(ports.store, info.model, digest)
    return trained_until(snapshot), time_span(snapshot)[1]


def trained_until(snapshot: pl.DataFrame) -> datetime | None:
    """Last prediction time of the train and validation parts; None if there are none."""
    seen = snapshot.filter(pl.col("part") != "test").get_column("prediction_time")
    last = seen.max()
    return last if isinstance(last, datetime) else None


def time_span(frame: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    """First and last prediction time."""
    times = frame.get_column("prediction_time")
    first, last = times.min(), times.max()
    return first if isinstance(first, datetime) else None, last if isinstance(last, datetime) else None


def later_rows(frame: pl.DataFrame, *moments: datetime | None) -> pl.DataFrame:
    """Rows whose prediction time is later than every given moment."""
    for moment in moments:
        if moment is not None:
            frame = frame.filter(pl.col("prediction_time") > moment)
    return frame


def event_days(rows: pl.DataFrame, model: str, ports: Ports) -> pl.Series:
    """The local day of each row's event, or of a panel the first date of its period."""
    return row_days(ports.catalog.view_of(model), ports.catalog.dataset_of(model), rows["prediction_time"])


class FormerVersionMissing(Refused):
    """A version was trained on another meaning of a feature, which the feature table does not hold."""


def former_columns(info: VersionInfo, other: VersionInfo, ports: Ports) -> dict[str, str]:
    """Feature to the column of its former version, for those that ``other`` was trained on with another meaning.

    The meanings are those of the snapshots; one that names none is taken for the same.
    """
    ours, theirs = (trained_definitions(version, ports) for version in (info, other))
    return {
        name: former_column(name, version)
        for name, (version, _) in theirs.items()
        if name in ours and ours[name][0] != version  # a version has one meaning, under whatever digest
    }


def trained_columns(model: str, version: str | None, names: Sequence[str], ports: Ports) -> dict[str, str]:
    """Feature to the column of the feature table that holds the meaning that a version was trained on.

    A feature whose version is not recorded has the newest meaning. The registry is asked only where a feature has a
    second version.
    """
    trained: dict[str, tuple[int, str]] = {}
    newest = {name: ports.catalog.view_of(model).features[name].version for name in names}
    if version is not None and any(number > 1 for number in newest.values()):
        with suppress(Refused):
            trained = trained_definitions(ports.registry.get(model, version), ports)
    return {
        name: name if trained.get(name, (number, ""))[0] == number else former_column(name, trained[name][0])
        for name, number in newest.items()
    }


def with_meanings(frame: pl.DataFrame, columns: Mapping[str, str], model: str, ports: Ports) -> pl.DataFrame:
    """The rows with the values of former versions in the columns of their features.

    ``FormerVersionMissing`` where a day was not built with them: its column is null then, which is no value of the
    feature.
    """
    if not columns or frame.is_empty():
        return frame
    table = store_paths.features(ports.catalog.view_of(model).view)
    days = set(event_days(frame, model, ports).to_list())
    records = feature_records(ports.store, table)
    missing = sorted({name for name in columns.values() for day in days if name not in _built(records.get(day))})
    if missing:
        raise FormerVersionMissing(
            f"it was trained on {', '.join(missing)}, which {table} does not hold of all compared rows"
        )
    joined = add_columns(frame, [*columns.values()], model, ports)
    return joined.with_columns(pl.col(column).alias(name) for name, column in columns.items()).drop(columns.values())


def _built(record: FeatureRecord | None) -> Mapping[str, str]:
    return {} if record is None else record.definition_digests


def trained_definitions(info: VersionInfo, ports: Ports) -> dict[str, tuple[int, str]]:
    """Feature to the version and digest of the definition that a version was trained on; empty if nothing says so."""
    path = store_paths.snapshot(info.model, snapshot_digest(info), "snapshot.json")
    if not ports.store.exists(path):
        return {}
    return SnapshotResult.model_validate_json(ports.store.get(path)).definitions


def add_columns(frame: pl.DataFrame, columns: Sequence[str], model: str, ports: Ports) -> pl.DataFrame:
    """The rows with the named columns; those that the snapshot lacks come from the feature table, by key.

    ``Refused`` if the feature table lacks a column or a row.
    """
    missing = [name for name in columns if name not in frame.columns]
    if not missing or frame.is_empty():
        return frame
    view = ports.catalog.view_of(model)
    table = store_paths.features(view.view)
    first, last = time_span(frame)
    days = ports.store.days(table)
    if first is not None and last is not None:  # a day is local, a prediction time is UTC
        margin = timedelta(days=2) if view.panel is None else view.panel.longest
        days = [day for day in days if first.date() - margin <= day <= last.date() + margin]
    if not days:
        raise Refused(f"{table} has no day of the {frame.height} snapshot rows; build its features")
    known_columns = ports.store.read(table, days=days[:1]).columns
    unknown = [name for name in missing if name not in known_columns]
    if unknown:
        raise Refused(f"neither the snapshot nor {table} has the columns {', '.join(unknown)}")
    same = [*view.key, *(() if names_its_time(view) else ("prediction_time",))]
    keys, needed = frame.select(same), [*same, *missing]
    by_day = [  # one day at a time, reduced to the rows of the frame: all days together may exceed memory
        ports.store.read(table, days=[day], columns=needed).select(needed).join(keys, on=same, how="semi")
        for day in days
    ]
    known = pl.concat(by_day).with_columns(pl.lit(True).alias("_matched"))
    joined = frame.join(known, on=same, how="left", maintain_order="left")
    lost = joined.get_column("_matched").null_count()
    if lost or joined.height != frame.height:
        raise Refused(f"{lost} of {frame.height} snapshot rows are not exactly once in {table}; build its features")
    return joined.drop("_matched")
