"""A partition has arrived only when every expected source has delivered its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.delivery import DeliveryManifest
from pipelines.verdict import Verdict


def judge_arrival(expected: Sequence[str], arrived: Mapping[str, DeliveryManifest]) -> Verdict:
    """PASS when all expected sources have a manifest; UNKNOWN, naming each missing one, as long as they have not."""
    missing = [source for source in expected if source not in arrived]
    return Verdict.of(
        "partition_arrival",
        unknowns=[f"{source}: no manifest has been delivered; have the source deliver it" for source in missing],
        facts={"arrived": {source: sum(file.rows for file in arrived[source].files) for source in sorted(arrived)}},
    )
