"""The protocols of outside services: store, registry, ledger, endpoint and deployment target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.messages.delivery import FileStamp as FileStamp
from pipelines.messages.incident import Event, Incident, Notice, OutboxMessage
from pipelines.messages.ledger_entry import LedgerEntry as LedgerEntry
from pipelines.messages.model_version import VersionInfo as VersionInfo
from pipelines.messages.partition_record import PartitionRecord
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.sql_table import SqlTable, TableColumns, Window
from pipelines.store_paths import Key

if TYPE_CHECKING:
    import polars as pl

Clock = Callable[[], datetime]
"""Returns the time now, aware, in UTC."""


class Store(Protocol):
    """Tables by partition and files by path, under one root.

    A table is named ``<layer>/<name>`` (``raw/city.trips``). A table by day has the column ``day`` (date), every
    other one the column ``partition`` (the key, see ``pipelines.spec.partitions``). A path is relative to the root
    (``profiles/validated/city.trips/2013-01-05.json``). Raises ``Unavailable`` when the storage does not answer,
    ``Refused`` for what does not exist.
    """

    def read(
        self,
        table: str,
        *,
        days: Sequence[date] | None = None,
        partitions: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """Rows of the given days or partitions (None: all), at a version (None: newest).

        The column of the partition comes last, and alone if ``columns`` is empty.
        """
        ...

    def replace_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, input_version: int | None = None
    ) -> int:
        """Atomically make ``frame`` the whole content of one partition; returns the table's new version.

        Without a ``frame`` the rows stay as they are, and only ``input_version`` is stored.
        Safe when several writers replace different partitions at once. ``frame`` needs no column of the partition.
        ``input_version``: the version of the table from which the rows were made, stored with the partition. Raises
        ``Conflict``, and writes nothing, if the partition was made from a newer one.
        """
        ...

    def commit_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, record: str, since: int | None
    ) -> int:
        """The same, with a record of the partition in the commit; without a ``frame`` its rows stay as they are.

        ``since``: the version of the table that the caller has read, None if there was no table. Raises ``Conflict``,
        and writes nothing, if the partition was written since.
        """
        ...

    def partition_records(self, table: str, *, version: int | None = None) -> dict[str, PartitionRecord]:
        """Key of each partition that was ever written, up to a version (None: newest), to the newest commit about it.

        After a restore, a partition has the record that it had then. No record: rows were written without one.
        """
        ...

    def input_version(self, table: str, partition: Key, *, version: int | None = None) -> int | None:
        """The ``input_version`` of the partition at a version of the table (None: newest); None if there is none."""
        ...

    def partitions(self, table: str) -> list[str]:
        """Keys of the table's partitions, ascending; empty if there is no such table."""
        ...

    def days(self, table: str) -> list[date]:
        """The partitions of a table by day, ascending; empty if there is no such table."""
        ...

    def version(self, table: str) -> int | None:
        """Newest version; None if there is no such table."""
        ...

    def changed_partitions(self, table: str, since: int | None) -> set[str]:
        """Keys of the partitions replaced in versions newer than ``since`` (None: all)."""
        ...

    def changed_days(self, table: str, since: int | None) -> set[date]:
        """The same of a table by day."""
        ...

    def restore(self, table: str, version: int) -> int:
        """Make the content of an earlier version the newest; returns the new version."""
        ...

    def put(self, path: str, content: bytes) -> str:
        """Write a whole file atomically; returns its URI."""
        ...

    def get(self, path: str) -> bytes:
        """Content of a file, by path or by the URI that ``put`` returned."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file; a missing file is no error."""
        ...

    def exists(self, path: str) -> bool: ...

    def list(self, prefix: str) -> list[str]:
        """Paths of all files below a prefix, ascending."""
        ...

    def stamps(self, prefix: str) -> dict[str, FileStamp]:
        """The same paths, each with its stamp."""

    def uri(self, path: str) -> str: ...


class Registry(Protocol):
    """Model versions. Raises ``Unavailable`` when it does not answer, ``Refused`` for an unknown model or version."""

    def get(self, model: str, version: str) -> VersionInfo: ...

    def by_alias(self, model: str, alias: str) -> VersionInfo | None: ...

    def versions(self, model: str) -> list[VersionInfo]:
        """All versions, newest first; empty for an unknown model."""
        ...

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None: ...

    def move_alias(self, model: str, alias: str, version: str | None) -> None:
        """Point an alias at a version; None deletes it. Called by the deploy and rollback practices and the CLI."""
        ...


class Ledger(Protocol):
    """Append-only and hash-chained. Raises ``Unavailable`` when the database does not answer."""

    def append(
        self,
        kind: str,
        model: str,
        version: str | None,
        details: Mapping[str, Any],
        *,
        actor: str,
        key: str | None = None,
    ) -> LedgerEntry:
        """Add one line. With a ``key`` a repeat (a retried task) returns the first line instead of adding another."""
        ...

    def entries(
        self, model: str | None = None, version: str | None = None, kind: str | None = None, *, after: int = 0
    ) -> list[LedgerEntry]:
        """Matching lines above number ``after`` that can be read, oldest first; ``faults`` names the damaged ones."""
        ...

    def faults(self) -> list[str]:
        """Every broken link, altered or lost line that no repair has sealed; empty if the chain is intact."""
        ...

    def repair(self, because: str, *, person: str) -> list[LedgerEntry]:
        """Seal each broken stretch by a line of its own (``pipelines.ledger.seals``); an intact ledger is left."""
        ...


class LiveVersion(Protocol):
    """Reads and switches the live version of a model. ``Unavailable``: no answer; ``Refused``: an invalid change."""

    def state(self, model: str) -> LiveState: ...

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        """Make a version live atomically; the former version becomes ``previous``. Idempotent by ``key``."""
        ...

    def restore_previous(self, model: str, *, key: str, reason: str) -> LiveState:
        """Restore the previous version. Idempotent by ``key``; ``Refused`` if there is none."""
        ...

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:
        """Load a model's first version for ``seconds``, for a test before it is live.

        Returns the secret in the header x-rollout-probe of the requests that reach it; no others do. Idempotent.
        ``Refused`` if a version is live, or if the target has no way to a version without traffic.
        """
        ...

    def unload_unreleased(self, model: str) -> None:
        """Unload it; nothing to unload is no error."""
        ...


class Endpoint(LiveVersion, Protocol):
    """Answers predictions. Raises ``Unavailable`` when it does not answer, ``Refused`` when it refuses a request."""

    def flush_log(self, model: str) -> None:
        """Return once every prediction answered so far is in the prediction log's Parquet files."""
        ...

    def predict(
        self,
        model: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        ids: Sequence[str] | None = None,
        prediction_time: datetime | None = None,
    ) -> list[float]:
        """One prediction per row."""
        ...


class RolloutTarget(Protocol):
    """Serves a candidate beside the champion.

    Every change names the generation that it expects (``expect``) and is idempotent by ``key``. Raises ``Conflict``
    when the model has another generation, ``Refused`` for a change that the rollout does not allow, ``Unavailable``
    when the target does not answer.
    """

    def rollout(self, model: str) -> RolloutState: ...

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        """Begin a rollout at 0 %; the same id with the same plan returns the existing one."""
        ...

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        """Load and test the candidate, without traffic."""
        ...

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        """Begin the next stage with this split, in basis points by version."""
        ...

    def set_mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> RolloutState: ...

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState: ...

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState: ...

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState: ...

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        """The candidate becomes the champion; the former champion can be restored until it is retired."""
        ...

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        """Finish a promotion, and drop the previous ``version`` if it is given."""
        ...

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        """Give the champion all traffic, at any generation; a rollout that has ended stays unchanged."""
        ...

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        """Counts of each version in each stage so far, oldest stage first, including the current stage.

        A unit counts in ``bad_units`` in the stage of its first bad event, and in no later one.
        """
        ...


class DeploymentTarget(LiveVersion, RolloutTarget, Protocol):
    """Serves a model: its live version, and a candidate beside it."""


class IncidentChanges(Protocol):
    """One transaction of the table of incidents: all of it is kept, or nothing."""

    def newest(self, model: str, kind: str, subject: str) -> Incident | None:
        """The newest incident of this key, over or not."""
        ...

    def active(self) -> list[Incident]:
        """Incidents that are not resolved, oldest first."""
        ...

    def get(self, number: int) -> Incident | None: ...

    def save(self, incident: Incident) -> Incident:
        """Write the row; a new one is given its number."""
        ...

    def post(self, channel: str, incident: Incident, event: Event, *, created: datetime, due: datetime) -> None:
        """Put a message into the outbox."""
        ...

    def note(self, name: str) -> str | None:
        """What ``set_note`` last wrote under this name, such as how far the ledger was read."""
        ...

    def set_note(self, name: str, value: str) -> None: ...


class Incidents(Protocol):
    """Incidents and the outbox of their messages. Raises ``Unavailable`` when the database does not answer."""

    def change(self) -> AbstractContextManager[IncidentChanges]:
        """An exclusive transaction, durable at its end."""
        ...

    def read(self, *, active_only: bool = False) -> list[Incident]:
        """Incidents, oldest first."""
        ...

    def note(self, name: str) -> str | None: ...
    def set_note(self, name: str, value: str) -> None: ...
    def claim(
        self, channel: str, holder: str, now: datetime, *, lease: timedelta, pause: timedelta
    ) -> list[OutboxMessage]:
        """The messages that ``holder`` sends to the channel next, as one; the channel is its own until ``lease`` ends.

        They are about one model, of which the channel got nothing for ``pause``. What was claimed and neither sent nor
        failed comes first, unchanged. Empty while another holder has the channel, while it rests after a failure, or if
        nothing is due.
        """
        ...

    def sent(self, channel: str, batch: int, now: datetime) -> None: ...
    def failed(self, channel: str, reason: str, *, now: datetime) -> int:
        """The channel did not take the messages; it rests. Returns how often in a row that happened."""
        ...

    def waiting(self) -> dict[str, int]:
        """How many messages wait, by channel."""
        ...

    def told(self, channel: str, since: datetime) -> list[Incident]:
        """Incidents of which the channel took a message: those that are not over, and those whose message is as new."""


class Notifier(Protocol):
    """Sends a notice to one channel. ``Unavailable``: try again; ``Refused``: only after a person corrected it."""

    def send(self, notice: Notice) -> None: ...


class SourceDatabase(Protocol):
    """Only reads. ``Refused`` for a missing table, column or time; no message has a secret or a value of a row."""

    def columns(self, table: SqlTable) -> list[str]: ...
    def read(self, table: SqlTable, columns: TableColumns, window: Window | None) -> Iterator[Sequence[Sequence[Any]]]:
        """Portions of rows of one moment, with the values of ``columns``; of a window at least the rows in it."""
        ...

    def statement(self, table: SqlTable, columns: TableColumns, window: Window | None) -> str: ...


class Ports(Protocol):
    """All outside services of a step, passed to it by its caller; each port is opened when first used."""

    @property
    def settings(self) -> Settings: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def store(self) -> Store: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def endpoint(self) -> Endpoint: ...
    def notifier(self, channel: str) -> Notifier:
        """The declared channel of this name."""
        ...

    def database(self, connection: str) -> SourceDatabase: ...

    def target(self, model: str) -> DeploymentTarget:
        """The declared deployment target of this model."""
        ...
