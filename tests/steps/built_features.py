"""Builds features as the practice does: build, judge, publish, until no input was replaced meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipelines.messages.features import BuiltPartition, FeaturesRequest, PublishFeaturesRequest, PublishFeaturesResult
from pipelines.ports import Ports
from pipelines.rules.point_in_time_features import judge_features
from pipelines.steps import build_features, publish_features
from pipelines.verdict import Verdict

MAX_REBUILDS = 25


class Built:
    """What the last build of each day made of it."""

    def __init__(self) -> None:
        self.partitions: dict[date, BuiltPartition] = {}
        self.verdicts: dict[date, Verdict] = {}
        self.changed: set[date] = set()
        self.appeared: set[date] = set()
        self.published: PublishFeaturesResult | None = None


def build_view(ports: Ports, view: str, day: date, days: Sequence[date] = ()) -> Built:
    """``days``: exactly these at first, in place of ``day`` and those that read it."""
    spec, request, built = ports.catalog.view(view), FeaturesRequest(view=view, day=day, days=[*days]), Built()
    for attempt in range(MAX_REBUILDS):
        result = build_features.run(request, ports)
        verdicts = {partition.day: judge_features(partition, spec) for partition in result.partitions}
        refused = {on: [*verdict.reasons] for on, verdict in verdicts.items() if not verdict.passed}
        publish = PublishFeaturesRequest(view=view, partitions=result.partitions, refused=refused)
        built.published = publish_features.run(publish, ports)
        built.partitions |= {partition.day: partition for partition in result.partitions}
        built.verdicts |= verdicts
        built.changed.update(built.published.changed)
        built.appeared.update(built.published.appeared)
        if not built.published.outdated:
            return built
        request = FeaturesRequest(view=view, day=day, days=built.published.outdated, attempt=attempt + 1)
    raise AssertionError(f"{view} of {day} did not come to rest")
