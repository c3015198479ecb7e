"""The record of a model's rollouts: one object on S3, written only if nobody else wrote it since it was read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pipelines.adapters.sagemaker.clients import NotFound, asking
from pipelines.errors import Refused
from pipelines.rollout.transitions import RolloutRecord, Route

KEPT_ANSWERS = 100
KEPT_ROLLOUTS = 20


class Intent(msgspec.Struct, frozen=True):
    """A change that was decided and recorded; whoever comes next finishes it or overrules it.

    ``begun``: SageMaker has taken the order to replace the configuration ``former`` by ``config``.
    """

    key: str
    request: str
    """Digest of what was asked for under this key."""
    action: str
    route: Route
    former: str | None = None
    config: str | None = None
    begun: bool = False


class StoredAnswer(msgspec.Struct, frozen=True):
    request: str
    answer: dict[str, Any]


class EndpointRecord(msgspec.Struct, frozen=True):
    """``route`` is what was last seen to be so; ``intent`` what is to become of it."""

    model: str
    generation: int = 0
    route: Route | None = None
    intent: Intent | None = None
    answers: dict[str, StoredAnswer] = {}
    """By key, the newest of them."""
    superseded: dict[str, RolloutRecord] = {}
    """Rollouts before the newest one that were cut short."""
    ended: datetime | None = None
    """When the newest rollout gave the candidate its last request, or its first one as champion."""


class EndpointRecords:
    """Rows at ``s3://bucket/prefix/rollouts/<model>.json``."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket, self._prefix = s3, bucket, prefix

    def read(self, model: str) -> tuple[EndpointRecord, str | None]:
        """The row and its ETag; a new row and None where there is none yet."""
        try:
            with asking(f"the record of {model}"):
                response = self._s3.get_object(Bucket=self._bucket, Key=self._key(model))
                content, etag = response["Body"].read(), str(response["ETag"])
        except NotFound:
            return EndpointRecord(model), None
        try:
            return msgspec.json.decode(content, type=EndpointRecord), etag
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            place = f"s3://{self._bucket}/{self._key(model)}"
            raise Refused(f"{place} is no record of rollouts; put an earlier version back", [str(error)]) from error

    def write(self, row: EndpointRecord, etag: str | None) -> str:
        """Returns the new ETag. Raises ``Lost`` if the row is not the one that was read under ``etag`` any more."""
        answers = dict(list(row.answers.items())[-KEPT_ANSWERS:])
        superseded = dict(list(row.superseded.items())[-KEPT_ROLLOUTS:])
        row = msgspec.structs.replace(row, answers=answers, superseded=superseded)
        fence = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with asking(f"the record of {row.model}"):
            written = self._s3.put_object(
                Bucket=self._bucket,
                Key=self._key(row.model),
                Body=msgspec.json.encode(row),
                ContentType="application/json",
                **fence,
            )
        return str(written["ETag"])

    def _key(self, model: str) -> str:
        return f"{self._prefix}rollouts/{model}.json"


def parse_store(store: str) -> tuple[str, str]:
    """Bucket and prefix (empty, or ending in ``/``). ``Refused`` for a store that AWS cannot read."""
    scheme, _, rest = store.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme not in ("s3", "s3a") or not bucket:
        raise Refused(
            f"SageMaker reads bundles from S3 alone, and the store is {store}",
            ["set AIRWORTHY_STORE to s3://bucket/prefix, or take another deployment.target"],
        )
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""
