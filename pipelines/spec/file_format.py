"""How the files of a source are written: their format, encoding, delimiter, signs in numbers, and compression."""

from __future__ import annotations

import codecs
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.spec.declared import DeclarationBlock

Format = Literal["csv", "jsonl", "parquet"]
Compression = Literal["none", "gzip", "zstd"]
COMPRESSION_ENDINGS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
FORMAT_ENDINGS: dict[str, Format] = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}
NOT_TEXT = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7", "mbcs", "oem"}
"""Encodings of Python that are none of files."""
NAMED_DELIMITERS = {"tab": "\t", "whitespace": " "}
OF_CSV = ("delimiter", "header", "quote", "decimal", "thousands")


class FileFormat(DeclarationBlock):
    """How each file of a source is written. What is not declared is RFC 4180: commas, a header, UTF-8."""

    format: Format = "csv"
    """``jsonl``: one JSON object per line."""
    delimiter: str = ","
    """Between the values of a line of CSV: one character, ``tab``, or ``whitespace`` (spaces and tabs, any number)."""
    header: bool = True
    """False: the values of a line of CSV are those of the columns in their declared order."""
    quote: str = '"'
    """Around a value of CSV that holds the delimiter, doubled inside; ``none``: values are never quoted."""
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    """Between the whole of a number and its decimals."""
    thousands: Literal["", ",", ".", " ", "'", "_", "\u00a0", "\u202f", "\u2019"] = ""
    """Between groups of three digits; none: numbers have no groups."""
    null_values: list[str] = ["NA", ""]
    """Texts that stand for no value. Parquet and JSON have nulls of their own: there only those that are declared."""
    compression: Compression | None = None
    """None: by the end of each file's name, ``.gz`` or ``.zst``, or else none."""
    max_bytes: int = Field(default=4 << 30, ge=1)
    """Size of a file, decompressed, above which it is refused."""

    @model_validator(mode="after")
    def check_fields_suit_the_format(self) -> Self:
        declared = self.model_fields_set
        without = {"jsonl": OF_CSV, "parquet": (*OF_CSV, "encoding", "compression")}.get(self.format, ())
        if wrong := [name for name in without if name in declared and getattr(self, name) != _default(name)]:
            raise ValueError(f"{' and '.join(wrong)} are not for {self.format}; remove them")
        if self.format != "csv" and "null_values" not in declared:
            object.__setattr__(self, "null_values", [])
        if self.separator == self.quote:
            raise ValueError(f"delimiter and quote are both {self.quote!r}; write two different characters")
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; write two different characters")
        return self

    @field_validator("delimiter")
    @classmethod
    def check_delimiter_is_one_character(cls, delimiter: str) -> str:
        if delimiter not in NAMED_DELIMITERS and (len(delimiter) != 1 or delimiter in "\r\n"):
            raise ValueError("must be one character, `tab` or `whitespace`")
        return delimiter

    @field_validator("quote")
    @classmethod
    def check_quote_is_one_character(cls, quote: str) -> str:
        if quote != "none" and (len(quote) != 1 or quote in "\r\n"):
            raise ValueError("must be one character, or `none`")
        return quote

    @field_validator("encoding")
    @classmethod
    def check_encoding_is_of_text(cls, encoding: str) -> str:
        try:
            name = codecs.lookup(encoding).name.replace("_", "-")
            is_text = name not in NOT_TEXT and "1,a\n".encode(encoding).decode(encoding) == "1,a\n"
        except (LookupError, ValueError, TypeError):
            is_text = False
        if not is_text:
            raise ValueError("must be an encoding of text, such as utf-8, utf-16, latin-1 or cp1252")
        return encoding

    @property
    def separator(self) -> str:
        """The delimiter's character; a space for ``whitespace``."""
        return NAMED_DELIMITERS.get(self.delimiter, self.delimiter)

    def compression_of(self, name: str) -> Compression:
        """Of the file of a name."""
        return self.compression or COMPRESSION_ENDINGS.get(PurePosixPath(name).suffix, "none")


def format_of_name(name: str) -> Format:
    """The format that the end of a file's name says, before that of a compression; CSV if it says none."""
    path = PurePosixPath(name)
    path = path.with_suffix("") if path.suffix in COMPRESSION_ENDINGS else path
    return FORMAT_ENDINGS.get(path.suffix, "csv")


def _default(name: str) -> object:
    return FileFormat.model_fields[name].default
