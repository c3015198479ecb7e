"""A delivery is complete when its manifest or its marker was written last, or nothing was written for a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pipelines.messages.delivery import FileStamp
from pipelines.spec.durations import written_duration
from pipelines.spec.source_files import SourceFiles
from pipelines.store_paths import MANIFEST, delivered_partition

FOLDER_DEPTH = 4
"""Slashes in ``landing/<dataset>/<source>/<partition>/<file>``; what lies deeper is no file of a delivery."""


def missing_part(files: SourceFiles, stamps: Mapping[str, FileStamp], now: datetime) -> str | None:
    """What a delivery lacks to be complete, and what to do; None: it is complete.

    ``stamps``: of the files in the folder of the partition, by name. A marker that is older than a file is of an
    earlier delivery, or was not written last.
    """
    marker, quiet = files.complete.marker, files.complete.quiet
    written = {name: stamp.written for name, stamp in stamps.items()}
    if files.complete.by_manifest:
        return None if MANIFEST in written else "no manifest has been delivered; have the source deliver it"
    newest = max(filter(files.has, written), key=lambda name: (written[name], name), default=None)
    if quiet is not None:
        if newest is None:
            return f"no file {files.name} has landed; have the source deliver it"
        if now - written[newest] >= quiet:
            return None
        return f"{newest} was written at {written[newest]:%H:%M:%S} UTC, less than {written_duration(quiet)} ago; wait"
    if marker not in written:
        return f"its marker {marker} has not been written; have the source write it last"
    if newest is not None and written[marker] < written[newest]:
        return f"its marker {marker} is older than {newest}; have the source write it again when all files are there"
    return None


def complete_partitions(files: SourceFiles, stamps: Mapping[str, FileStamp], now: datetime) -> set[str]:
    """Keys of the deliveries that are complete. ``stamps``: of paths below ``landing/<dataset>/<source>/``."""
    folders: dict[str, dict[str, FileStamp]] = {}
    for path, stamp in stamps.items():
        key = delivered_partition(path)
        if key is not None and path.count("/") == FOLDER_DEPTH:
            folders.setdefault(key, {})[path.rpartition("/")[2]] = stamp
    return {key for key, named in folders.items() if missing_part(files, named, now) is None}
