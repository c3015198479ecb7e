"""Assigns requests to arms by a hash of their key: a growing canary keeps its keys, an A/B split keeps all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal

from pipelines.rollout.plan import RoutingPlan

BUCKETS = 10_000
NO_BUCKET = -1
"""The bucket of a request that a segment rule decided: it is in no random sample."""

Arm = Literal["champion", "candidate"]


def hashed(key: str, salt: bytes) -> int:
    """64 bits of the key, keyed by ``salt`` (at most 64 bytes): other salts are other, independent lotteries."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest(), "big")


def bucket(key: str, salt: bytes) -> int:
    """0 to 9,999; an arm with n basis points from 0 on owns the buckets below n."""
    return hashed(key, salt) % BUCKETS


class ArmChoice:
    """Who answers one request. ``unit`` identifies the key, None where a segment rule decided."""

    __slots__ = ("arm", "bucket", "unit")

    def __init__(self, arm: Arm, bucket: int, unit: int | None) -> None:
        self.arm, self.bucket, self.unit = arm, bucket, unit


class ArmChooser:
    """Chooses by segment rules first and then by the key's bucket; without a key, by the request's own id."""

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
        unit = hashed(key, self._salt)
        place = unit % BUCKETS
        return ArmChoice("candidate" if place < self._share else "champion", place, unit)


def mirror_salt(rollout_id: str) -> bytes:
    """The salt of the lottery of mirrored requests; it is independent of the one that chooses the arm."""
    return blake2b(f"mirror {rollout_id}".encode(), digest_size=16).digest()
