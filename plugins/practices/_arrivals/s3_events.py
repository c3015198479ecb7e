"""Reads from S3 event messages for which partitions files were written to the landing folder; ignores others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from pipelines import store_paths
from pipelines.spec.dataset import DatasetSpec


def partitions_in_message(body: str, root: str, spec: DatasetSpec) -> set[str]:
    """Keys for which, by the message, a file of a source of the dataset was written below the store's ``root``.

    Accepts S3 notifications, S3 notifications wrapped by SNS, and EventBridge events. Everything else (S3's test event,
    other buckets and prefixes, removals, invalid JSON) gives no day.
    """
    bucket, _, prefix = root.partition("://")[2].strip("/").partition("/")
    landings = [f"{prefix}/{store_paths.landing_of(spec.dataset, source)}".lstrip("/") for source in spec.sources]
    keys = set()
    for object_bucket, path in _created_objects(_parse_json(body)):
        for landing in landings:
            if object_bucket == bucket and path.startswith(landing):
                partition, _, file = path.removeprefix(landing).partition("/")
                if file and spec.partition_calendar.is_key(partition):
                    keys.add(partition)
    return keys


def _created_objects(message: Any) -> Iterator[tuple[str, str]]:
    """Bucket and key of each object that was created, by the message."""
    if not isinstance(message, dict):
        return
    if message.get("Type") == "Notification":
        yield from _created_objects(_parse_json(message.get("Message")))
    if message.get("detail-type") == "Object Created":
        yield from _object_of(message.get("detail"), encoded=False)
    records = message.get("Records")
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict) and str(record.get("eventName", "")).startswith("ObjectCreated"):
            yield from _object_of(record.get("s3"), encoded=True)


def _object_of(event: Any, *, encoded: bool) -> Iterator[tuple[str, str]]:
    """Bucket and key of one event; S3 (``encoded``) percent-encodes keys as forms do, EventBridge does not."""
    try:
        bucket, key = str(event["bucket"]["name"]), str(event["object"]["key"])
    except (TypeError, KeyError):
        return
    yield bucket, unquote_plus(key) if encoded else key


def _parse_json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
