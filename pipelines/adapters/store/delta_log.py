"""What the commits of a Delta table say of its partitions: which they replaced, from what, and a record of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deltalake import CommitProperties, Transaction

from pipelines.messages.partition_record import PartitionRecord

Commit = Mapping[str, Any]
"""The information of a commit, as ``DeltaTable.history`` gives it."""
PARTITIONS_COMMIT_PROPERTY = "airworthy.days"
"""Key in a commit's information: the keys of the partitions that it replaced, joined by commas."""
RECORDED_COMMIT_PROPERTY, RECORD_COMMIT_PROPERTY = "airworthy.partition", "airworthy.record"
"""Keys in a commit's information: a partition, and the record that its writer made of it."""
RESTORED_COMMIT_PROPERTY = "airworthy.restored"
"""Key in a restore's information: the version whose content is the newest again."""
RECORD_TRANSACTION = "airworthy.record"
"""Prefix of the transaction of a partition's records: by it two of them at once are a conflict."""
INPUT_TRANSACTION = "airworthy.input"
"""Prefix of the transaction that holds, for a partition, the version of the input from which it was written."""
OPERATIONS_WITHOUT_ROW_CHANGES = {"CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}


def commit_properties(
    keys: set[str],
    input_version: tuple[str, int] | None = None,
    *,
    recorded: tuple[str, str, int] | None = None,
    restored: int | None = None,
) -> CommitProperties:
    """``input_version``: a partition and its version, a transaction that Delta Lake keeps with the state of the table.

    ``recorded``: a partition, its record, and a number that rises with each commit.
    """
    named = sorted(keys)
    transactions = []
    metadata = {PARTITIONS_COMMIT_PROPERTY: ",".join(named)}
    if input_version is not None:
        transactions = [Transaction(f"{INPUT_TRANSACTION}/{input_version[0]}", input_version[1])]
    if recorded is not None:
        key, record, number = recorded
        metadata |= {RECORDED_COMMIT_PROPERTY: key, RECORD_COMMIT_PROPERTY: record}
        transactions.append(Transaction(f"{RECORD_TRANSACTION}/{key}", number))
    if restored is not None:
        metadata[RESTORED_COMMIT_PROPERTY] = f"{restored}"
    return CommitProperties(custom_metadata=metadata, app_transactions=transactions or None)


def named_partitions(commit: Commit) -> set[str] | None:
    """The partitions whose rows the commit wrote; None if another program wrote it, which may have written any."""
    if PARTITIONS_COMMIT_PROPERTY in commit:
        return {key for key in commit[PARTITIONS_COMMIT_PROPERTY].split(",") if key}
    return set() if commit.get("operation") in OPERATIONS_WITHOUT_ROW_CHANGES else None


def is_about(commit: Commit, key: str) -> bool:
    """Whether the commit wrote the partition, or its record; one of another program may have."""
    named = named_partitions(commit)
    return named is None or key in named or commit.get(RECORDED_COMMIT_PROPERTY) == key


def records_of(commits: Sequence[Commit], version: int) -> tuple[int, dict[str, PartitionRecord]]:
    """The newest commit about each partition at a version, and the version since which the commits name partitions.

    ``commits``: all that the log has, newest first. A partition that is not among them was written before.
    """
    named = [commit for commit in reversed(commits) if int(commit["version"]) <= version]
    since = int(named[0]["version"]) if named else 0
    restored = {int(commit[RESTORED_COMMIT_PROPERTY]) for commit in named if RESTORED_COMMIT_PROPERTY in commit}
    records: dict[str, PartitionRecord] = {}
    earlier: dict[int, dict[str, PartitionRecord]] = {}
    for commit in named:
        number, keys = int(commit["version"]), named_partitions(commit)
        then = earlier.get(int(commit.get(RESTORED_COMMIT_PROPERTY, -1)), {})
        if keys is None:
            since = number
            keys = set(records)
        for key in keys:
            records[key] = PartitionRecord(version=number, record=then[key].record if key in then else None)
        if RECORDED_COMMIT_PROPERTY in commit:
            text = commit.get(RECORD_COMMIT_PROPERTY)
            records[commit[RECORDED_COMMIT_PROPERTY]] = PartitionRecord(version=number, record=text)
        if number in restored:
            earlier[number] = dict(records)
    return since, records
