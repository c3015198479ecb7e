"""Where the files of a source land, by a pattern of their paths, and how they are written."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipelines.spec.completeness import Completeness, DeclaredCompleteness
from pipelines.spec.fault_text import FieldFaults
from pipelines.spec.file_format import FileFormat, format_of_name

FOREIGN_ENDINGS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "a workbook"),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".tgz"), "an archive of files"),
    **dict.fromkeys((".bz2", ".xz", ".lz4", ".snappy"), "a compression that is not read (gzip and zstd are)"),
    **dict.fromkeys((".avro", ".orc", ".feather", ".arrow", ".pkl", ".sqlite", ".db"), "a format that is not read"),
    **dict.fromkeys((".json", ".xml", ".html", ".pdf"), "a document and no lines"),
}
"""Ends of names that say a format which is none of those that are read."""
FOLDER = "{source}/{partition}/"
"""Of the deliveries of a source, one folder per partition, below the landing folder."""


class SourceFiles(FileFormat):
    """``files`` of a source. The format of a file is, unless it is declared, what the end of its name says."""

    path: str
    """Of the data files below the landing folder: ``{source}/{partition}/trips.csv``; ``*`` stands for any signs."""
    complete: DeclaredCompleteness = Completeness()
    """When a partition has been delivered completely: ``manifest``, ``{marker: _SUCCESS}`` or ``{quiet: 10m}``."""

    @field_validator("path")
    @classmethod
    def check_lies_in_the_folder_of_its_partition(cls, path: str) -> str:
        name = path.removeprefix(FOLDER)
        if name == path or not name or any(sign in name for sign in "/\\{}?[]") or name.startswith("_"):
            raise ValueError(f"must be `{FOLDER}` and the name of a data file that does not begin with _")
        return path

    @model_validator(mode="after")
    def check_marker_is_no_data_file(self) -> Self:
        marker = self.complete.marker
        if marker is not None and self.has(marker):
            fault = f"{marker!r} is a data file by the path; name one that is none, as in _SUCCESS"
            raise FieldFaults([("complete.marker", fault)])
        return self

    @property
    def name(self) -> str:
        """Of the data file in the folder of its partition, or the pattern of the names of several."""
        return self.path.removeprefix(FOLDER)

    def has(self, name: str) -> bool:
        """Whether a file of this name is one of the source."""
        return not name.startswith("_") and "/" not in name and fnmatchcase(name, self.name)


def _with_format(value: Any) -> Any:
    """A path alone is a block of it; the format that its end says is added."""
    if not isinstance(value, str | dict | SourceFiles):
        raise ValueError(
            f'must be a path, as in `"{FOLDER}trips.csv"`, or fields with it and how the files are written'
        )
    block = {"path": value} if isinstance(value, str) else value
    if isinstance(block, dict) and isinstance(block.get("path"), str):
        end = PurePosixPath(block["path"]).suffix.lower()
        if end in FOREIGN_ENDINGS and "format" not in block and not block["path"].removeprefix(FOLDER).startswith("_"):
            fault = (
                f"{end} is {FOREIGN_ENDINGS[end]}; deliver CSV, JSON lines or Parquet, or say which it is by `format`"
            )
            raise FieldFaults([("path", fault)])
        return {"format": format_of_name(block["path"].rpartition("/")[2]), **block}
    return block


DeclaredFiles = Annotated[
    SourceFiles,
    BeforeValidator(_with_format, json_schema_input_type=Annotated[str, Field(pattern=r"^\{source\}/")] | SourceFiles),
]
"""A pattern of paths alone, or with how the files are written."""
