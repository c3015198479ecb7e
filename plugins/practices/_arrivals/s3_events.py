"""Reads from S3 event messages for which days files were written below the landing folder; ignores other messages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import date
from typing import Any
from urllib.parse import unquote_plus

from pipelines import store_paths


def days_in_message(body: str, root: str, sources: Collection[str]) -> set[date]:
    """Days for which, by the message, a file of one of ``sources`` was written below the store's ``root``.

    Accepts S3 notifications, S3 notifications wrapped by SNS, and EventBridge events. Everything else (S3's test event,
    other buckets and prefixes, removals, invalid JSON) gives no day.
    """
    bucket, _, prefix = root.partition("://")[2].strip("/").partition("/")
    landings = [f"{prefix}/{store_paths.landing_of(source)}".lstrip("/") for source in sources]
    days = set()
    for object_bucket, key in _created_objects(_parse_json(body)):
        for landing in landings:
            if object_bucket == bucket and key.startswith(landing):
                day, _, file = key.removeprefix(landing).partition("/")
                if file and (date_ := _parse_day(day)):
                    days.add(date_)
    return days


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


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
