"""The record of a model's rollouts: one object on S3, written only if it has not changed since it was read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pipelines.adapters.sagemaker.clients import NotFound, aws_errors
from pipelines.errors import Refused
from pipelines.rollout.transitions import RolloutRecord, Route

MAX_ANSWERS = 100
MAX_ROLLOUTS = 20


class ChangeIntent(msgspec.Struct, frozen=True):
    """A change that was decided and recorded; the next call finishes or replaces it.

    ``begun``: SageMaker has accepted to replace the configuration ``former`` by ``config``.
    """

    key: str
    request: str
    """Digest of the request under this key."""
    action: str
    route: Route
    former: str | None = None
    config: str | None = None
    begun: bool = False


class StoredAnswer(msgspec.Struct, frozen=True):
    request: str
    answer: dict[str, Any]


class EndpointRecord(msgspec.Struct, frozen=True):
    """``route`` is the last observed state; ``intent`` the pending change."""

    model: str
    generation: int = 0
    route: Route | None = None
    intent: ChangeIntent | None = None
    answers: dict[str, StoredAnswer] = {}
    """The newest answers by idempotency key."""
    superseded: dict[str, RolloutRecord] = {}
    """Rollouts that a newer one superseded."""
    ended: datetime | None = None
    """When the newest rollout ended, by the end of its promotion's window or by a rollback."""


class EndpointRecords:
    """Records at ``s3://bucket/prefix/rollouts/<model>.json``."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket, self._prefix = s3, bucket, prefix

    def read(self, model: str) -> tuple[EndpointRecord, str | None]:
        """The record and its ETag; an empty record and None if there is none yet."""
        try:
            with aws_errors(f"the record of {model}"):
                response = self._s3.get_object(Bucket=self._bucket, Key=self._object_key(model))
                content, etag = response["Body"].read(), str(response["ETag"])
        except NotFound:
            return EndpointRecord(model), None
        try:
            return msgspec.json.decode(content, type=EndpointRecord), etag
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            place = f"s3://{self._bucket}/{self._object_key(model)}"
            raise Refused(f"{place} is not a valid record; restore an earlier version of it", [str(error)]) from error

    def write(self, record: EndpointRecord, etag: str | None) -> str:
        """Returns the new ETag. Raises ``WriteConflict`` if the record changed since it was read under ``etag``."""
        answers = dict(list(record.answers.items())[-MAX_ANSWERS:])
        superseded = dict(list(record.superseded.items())[-MAX_ROLLOUTS:])
        record = msgspec.structs.replace(record, answers=answers, superseded=superseded)
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        with aws_errors(f"the record of {record.model}"):
            written = self._s3.put_object(
                Bucket=self._bucket,
                Key=self._object_key(record.model),
                Body=msgspec.json.encode(record),
                ContentType="application/json",
                **condition,
            )
        return str(written["ETag"])

    def _object_key(self, model: str) -> str:
        return f"{self._prefix}rollouts/{model}.json"


def parse_s3_store(store: str) -> tuple[str, str]:
    """Bucket and prefix (empty, or ending in ``/``). ``Refused`` for a store that AWS cannot read."""
    scheme, _, rest = store.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme not in ("s3", "s3a") or not bucket:
        raise Refused(
            f"SageMaker reads bundles only from S3, but the store is {store}",
            ["set AIRWORTHY_STORE to s3://bucket/prefix, or use another deployment.target"],
        )
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""
