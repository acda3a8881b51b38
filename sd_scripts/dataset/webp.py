"""WebP headers, read without the whole file: Pillow prepares a full canvas for each one it opens.

Container and bit layout: RFC 9649, sections 2.3 to 2.7 and 3.4; VP8 key frames: RFC 6386, 9.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

_ALPHA, _EXIF, _ANIMATION = 0x10, 0x08, 0x02
_MAX_CHUNKS: Final = 64
_MAX_EXIF_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class WebpHeader:
    """What a WebP file says of itself; `size` is (width, height) as stored, `exif` raw bytes."""

    size: tuple[int, int]
    has_alpha: bool
    is_animated: bool
    exif: bytes | None = None


def read_webp_header(file: BinaryIO) -> WebpHeader | None:
    """The header of an open WebP file; None for other files and for anything out of the ordinary.

    The file's position is changed.
    """
    file.seek(0)
    if file.read(4) != b"RIFF" or len(file.read(4)) != 4 or file.read(4) != b"WEBP":
        return None
    name, data = file.read(4), file.read(14)  # a chunk's length, then its first ten bytes
    if len(data) < 14:
        return None
    body = data[4:]
    if name == b"VP8X":
        return _extended(file, body)
    if name == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        return WebpHeader(size, bool(bits >> 28 & 1), False)
    if name == b"VP8 " and not body[0] & 1 and body[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return WebpHeader((width, height), False, False)
    return None


def _extended(file: BinaryIO, body: bytes) -> WebpHeader | None:
    flags = body[0]
    size = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    header = WebpHeader(size, bool(flags & _ALPHA), bool(flags & _ANIMATION))
    if header.is_animated or not flags & _EXIF:
        return header
    for name, length in _chunks(file):
        if name == b"EXIF" and length <= _MAX_EXIF_BYTES:
            return WebpHeader(header.size, header.has_alpha, False, file.read(length))
    return None


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Names and lengths of the chunks after VP8X; the file then stands at their contents."""
    position = 30
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], length
        position += 8 + length + (length & 1)
        if position >= os.fstat(file.fileno()).st_size:
            return
