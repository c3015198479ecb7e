"""Assigns requests to arms by a hash of their key: a growing canary keeps its keys, an A/B split all keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal

from pipelines.rollout.plan import RoutingPlan

BUCKET_COUNT = 10_000
NO_BUCKET = -1
"""Bucket of a request that a segment rule assigned: it is in no random sample."""

Arm = Literal["champion", "candidate"]


def hash_key(key: str, salt: bytes) -> int:
    """64-bit hash of a key with ``salt`` (at most 64 bytes); assignments of different salts are independent."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest(), "big")


def bucket(key: str, salt: bytes) -> int:
    """Bucket 0 to 9,999 of a key; an arm with n basis points gets the buckets below n."""
    return hash_key(key, salt) % BUCKET_COUNT


class ArmChoice:
    """The arm of one request. ``unit`` is the hash of the key, None if a segment rule assigned the arm."""

    __slots__ = ("arm", "bucket", "unit")

    def __init__(self, arm: Arm, bucket: int, unit: int | None) -> None:
        self.arm, self.bucket, self.unit = arm, bucket, unit


class ArmChooser:
    """Chooses an arm by segment rules, then by the bucket of the key, which defaults to the request id."""

    def __init__(self, routing: RoutingPlan, rollout_id: str, share: int) -> None:
        self._salt = (routing.salt or rollout_id).encode()
        self._share = share
        self._segments: list[tuple[bytes, bytes, Arm]] = [
            (segment.header.lower().encode("latin-1", "replace"), segment.equals.encode(), segment.arm)
            for segment in routing.segments
        ]
        self._header = routing.key.partition("header:")[2].lower().encode("latin-1", "replace")
        self._by_ids = routing.key == "field:ids"

    def __call__(self, headers: Mapping[bytes, bytes], ids: Sequence[str] | None, request_id: str) -> ArmChoice:
        for header, equals, arm in self._segments:
            if headers.get(header) == equals:
                return ArmChoice(arm, NO_BUCKET, None)
        key = request_id
        if self._header:
            key = headers.get(self._header, b"").decode("latin-1") or request_id
        elif self._by_ids and ids:
            key = ids[0]
        unit = hash_key(key, self._salt)
        position = unit % BUCKET_COUNT
        return ArmChoice("candidate" if position < self._share else "champion", position, unit)


def mirror_salt(rollout_id: str) -> bytes:
    """Salt of the sample of mirrored requests, which is independent of the assignment to arms."""
    return blake2b(f"mirror {rollout_id}".encode(), digest_size=16).digest()
