"""Decompresses a delivered file up to its declared size, so that a small file that expands without end does no harm."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

import pyarrow as pa

from pipelines.spec.file_format import Compression

CHUNK_BYTES = 1 << 20
MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


def decompress(content: bytes, compression: Compression, max_bytes: int) -> tuple[bytes, str | None]:
    """The content as it was before its compression, or the fault for which it cannot be read.

    No more than ``max_bytes`` and one chunk are ever held.
    """
    too_large = (
        f"the file has more than {max_bytes:,} bytes, decompressed; deliver it in parts, or raise `max_bytes` of its "
        "source"
    )
    if compression == "none":
        return (content, None) if len(content) <= max_bytes else (b"", too_large)
    if not content.startswith(MAGIC[compression]):
        return b"", f"the file is not compressed with {compression}, as its name or its source says; correct either"
    parts, size = [], 0
    try:
        with _open(content, compression) as stream:
            while part := stream.read(CHUNK_BYTES):
                size += len(part)
                if size > max_bytes:
                    return b"", too_large
                parts.append(bytes(part))
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, EOFError) or "Truncated" in str(error):
            return b"", f"the file ends before its {compression} data do; it was truncated, deliver it again"
        return b"", f"the file's {compression} data are damaged; deliver it again"
    return b"".join(parts), None


def _open(content: bytes, compression: Compression) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=io.BytesIO(content))
    return pa.CompressedInputStream(pa.BufferReader(content), compression)
