"""Side files of the prediction log: records that could not be converted, kept as they are and counted.

Beside the segments, ``set_aside/<segment>-aside.seg`` holds the records and ``….json`` says why. Moved back among the
segments, the ``.seg`` file is converted once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipelines.serving.files import write_file
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, pack_record

FOLDER = "set_aside"
FORMER_FOLDER = "damaged"
"""Where earlier versions kept a whole segment that was damaged in its middle, and none of what followed was written."""
UNKNOWN_MODEL = ""
"""Model of bytes that cannot be read."""


class RejectedAnswer(NamedTuple):
    """An answer that cannot be converted; ``columns`` is None where the segment does not have them."""

    columns: LogColumns | None
    answer: LoggedAnswer
    fault: str


class SideFileSummary(msgspec.Struct):
    """What a side file holds: ``records`` by model, ``rows`` of those that can be read, and how often each fault."""

    records: dict[str, int] = {}
    rows: int = 0
    faults: dict[str, int] = {}


def write_side_file(segment: Path, rejected: Sequence[RejectedAnswer], damaged: Sequence[tuple[bytes, str]]) -> int:
    """Write what could not be converted of ``segment``, the same for the same records; returns the number of records.

    ``damaged``: bytes that are no record, each with its fault.
    """
    models = Counter(answer.columns.model if answer.columns else UNKNOWN_MODEL for answer in rejected)
    models[UNKNOWN_MODEL] += len(damaged)
    faults = Counter([answer.fault for answer in rejected] + [fault for _, fault in damaged])
    if faults:
        rows = sum(len(answer.answer.predictions) for answer in rejected)
        summary = SideFileSummary({model: count for model, count in models.items() if count}, rows, dict(faults))
        target = segment.parent / FOLDER / f"{segment.stem}-aside.seg"
        write_file(str(target), _pack(rejected) + b"".join(content for content, _ in damaged))
        write_file(str(target.with_suffix(".json")), msgspec.json.format(msgspec.json.encode(summary)))
    return faults.total()


def _pack(rejected: Sequence[RejectedAnswer]) -> bytes:
    """The records of a segment: each answer, and before it its columns if they are not there yet."""
    content = bytearray()
    written: dict[int, LogColumns] = {}
    for columns, answer, _ in rejected:
        if columns is not None and written.get(columns.number) is not columns:
            written[columns.number] = columns
            content += pack_record(columns)
        content += pack_record(answer)
    return bytes(content)


class SideFileCounts:
    """The number of records in all side files of a folder of segments, by model; read again when the folder changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._stamp: tuple[int, int] | None = None
        """When the folder last changed, and its number of files: two changes may have one time."""
        self._counts: Counter[str] = Counter()

    def total(self) -> int:
        return self._read().total()

    def of_model(self, model: str) -> int:
        """Records of this model, or of none that is known."""
        counts = self._read()
        return counts[model] + counts[UNKNOWN_MODEL]

    def _read(self) -> Counter[str]:
        try:
            stamp = (self._folder.stat().st_mtime_ns, len(list(self._folder.iterdir())))
        except FileNotFoundError:
            stamp = None
        if stamp != self._stamp:
            self._counts = Counter()
            for path in self._folder.glob("*.json"):
                self._counts.update(_summary(path).records)
            self._stamp = stamp
        return self._counts


def _summary(path: Path) -> SideFileSummary:
    """Summary of a side file: nothing once its records were moved back, one record if it cannot be read."""
    if not path.with_suffix(".seg").exists():
        return SideFileSummary()
    try:
        return msgspec.json.decode(path.read_bytes(), type=SideFileSummary)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return SideFileSummary({UNKNOWN_MODEL: 1})


def restore_former_side_files(folder: Path) -> None:
    """Move segments that an earlier version kept whole back, so that what follows their damage is written, too."""
    for path in (folder / FORMER_FOLDER).glob("*.seg"):
        path.replace(folder / path.name)
