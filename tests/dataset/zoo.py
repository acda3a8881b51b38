"""Picture files of every kind, good and bad, made on the fly."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

from PIL import Image


def noisy(size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """A picture that doesn't compress to nothing: every tenth of it looks different."""
    picture = Image.effect_noise(size, 80)
    if mode in ("L", "RGB", "CMYK", "RGBA", "LA", "P", "1"):
        return picture.convert("RGB").convert(mode)
    raise ValueError(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of `picture` as a file of `kind`."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def quadrants(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Red, green, blue and white quarters: top left, top right, bottom left, bottom right."""
    width, height = size
    picture = Image.new("RGB", size, "white")
    picture.paste("red", (0, 0, width // 2, height // 2))
    picture.paste("lime", (width // 2, 0, width, height // 2))
    picture.paste("blue", (0, height // 2, width // 2, height))
    return picture


def with_orientation(kind: str, orientation: int) -> bytes:
    """A file of the quadrants with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(quadrants(), kind, exif=exif.tobytes())


def grey16(values: list[int], width: int) -> bytes:
    """A PNG of 16-bit greys."""
    raw = struct.pack(f"<{len(values)}H", *values)
    picture = Image.frombytes("I;16", (width, len(values) // width), raw)
    return encoded(picture, "PNG")


def animated(kind: str) -> bytes:
    """Two frames in one file."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises `width` by `height` pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def put(folder: Path, name: str, data: bytes = b"", *, caption: str | None = None) -> Path:
    """Write a file, and a caption beside it when one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data or encoded(noisy(), "PNG"))
    if caption is not None:
        path.with_suffix(".caption").write_text(caption, encoding="utf-8")
    return path
