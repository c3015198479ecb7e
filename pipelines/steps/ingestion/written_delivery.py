"""Writes the files of a delivery and then what completes it: a reader sees a whole delivery or none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pipelines import store_paths
from pipelines.messages.delivery import DeliveryManifest, Extraction, LandedFile
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.store_paths import MANIFEST


def write_delivery(
    spec: DatasetSpec,
    source: str,
    partition: str,
    files: Mapping[str, tuple[bytes, int]],
    store: Store,
    extraction: Extraction | None = None,
) -> DeliveryManifest:
    """Land files, name to content and number of rows, for one partition; returns what it holds.

    Deletes an earlier manifest or marker first, so that none ever lies beside a file that it does not describe. A
    source that is complete by a quiet time gets neither. Raises ``Refused`` for a partition that the dataset does not
    have.
    """
    key = spec.partition_calendar.require(partition, spec.dataset).key
    landed = [
        LandedFile(name=name, rows=rows, sha256=hashlib.sha256(content).hexdigest())
        for name, (content, rows) in sorted(files.items())
    ]
    manifest = DeliveryManifest(dataset=spec.dataset, source=source, partition=key, files=landed, extraction=extraction)
    complete = spec.sources[source].files.complete
    completing = complete.marker or MANIFEST
    store.delete(store_paths.landing(spec.dataset, source, key, completing))
    if not complete.by_manifest:  # all data files that lie there are of the delivery
        folder = store_paths.landing(spec.dataset, source, key)
        names = {path.removeprefix(folder) for path in store.list(folder)}
        for name in filter(spec.sources[source].files.has, names - set(files)):
            store.delete(f"{folder}{name}")
    for name, (content, _) in files.items():
        store.put(store_paths.landing(spec.dataset, source, key, name), content)
    if complete.quiet is None:
        content = manifest.model_dump_json(by_alias=True, exclude_none=True).encode() if complete.by_manifest else b""
        store.put(store_paths.landing(spec.dataset, source, key, completing), content)
    return manifest
