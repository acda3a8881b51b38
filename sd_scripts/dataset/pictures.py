"""Reading pictures of every kind people have, and saying by name what is wrong with the others.

`probe` reads headers only and is quick; `open_rgb` decodes. Both see a picture the same way.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from sd_scripts.dataset.webp import read_webp_header

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif")
UNREADABLE_SUFFIXES: Final = frozenset(
    (".gif", ".heic", ".heif", ".jfif", ".jxl", ".jp2", ".psd", ".svg", ".tga", ".tif", ".tiff")
) | frozenset((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"))
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "AVIF", "GIF")
"""Pillow's names of what is decoded, GIF only to tell of it; nothing else reaches a decoder."""
MAX_PIXELS: Final = 2 * 89_478_485  # twice Pillow's warning level, where Pillow itself refuses

_ORIENTATION_TAG: Final = 0x0112
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DECODE_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_TAIL_BYTES: Final = 4096
_LENGTH_AT: Final = {"WEBP": (4, 8), "BMP": (2, 0)}  # where the length is; what it leaves out

# Large photos are welcome and damaged EXIF data is no harm: Pillow's warnings would be noise.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class PictureProblem(Exception):
    """A picture that can't be used: which one, why, and what to do about it.

    `lasting` is false where the cause lies outside of the file's contents (no permission, a broken
    link), so that it may be gone without the file having changed.
    """

    def __init__(self, path: Path, reason: str, hint: str, *, lasting: bool = True) -> None:
        super().__init__(f"{shown(path)} {reason}")
        self.path = path
        self.reason = reason
        self.hint = hint
        self.lasting = lasting


class PictureTooLarge(PictureProblem):
    """A picture with more than `MAX_PIXELS`; `large_pictures.open_scaled` may still read it."""


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a picture's header says. `size` is (width, height) as seen, after EXIF rotation."""

    size: tuple[int, int]
    mode: str
    format: str
    frames: int
    has_alpha: bool


def shown(path: Path | str) -> str:
    """A path or name as text that can always be printed and stored."""
    return str(path).encode("utf-8", "replace").decode("utf-8")


def reachable(path: Path, *, windows: bool = os.name == "nt") -> str:
    """The path as the system opens it: on Windows, long ones need a prefix."""
    text = str(path)
    if windows and len(text) >= 240 and not text.startswith("\\\\"):
        return "\\\\?\\" + os.path.abspath(text)
    return text


def probe(path: Path) -> PictureInfo:
    """Read a picture's header and look at its end, without decoding it.

    Raises `PictureProblem` for files that are empty, cut off, animated, far too large or no
    pictures at all. Damage in the middle of a file shows only when it is decoded.
    """
    try:
        with open(reachable(path), "rb") as file:
            info = _probe_webp(path, file) or _info(path, _open(path, file))
            if not _has_end(file, info.format):
                _check_whole(path, file, info.format)
            return info
    except OSError as error:
        raise _unreachable(path, error) from error


def open_rgb(path: Path) -> Image.Image:
    """Decode a picture to mode RGB, 8 bits, turned as its EXIF data says.

    Transparent parts become white; 16-bit greys keep their upper eight bits. Raises
    `PictureProblem` for everything that `probe` refuses, and for damage inside the file.
    """
    return _opened(path, _to_rgb)


def open_mask(path: Path) -> Image.Image:
    """Decode the red channel of a picture to mode L, as `open_rgb` does; transparency is ignored.

    Raises what `open_rgb` raises.
    """
    return _opened(path, _red)


def open_alpha(path: Path) -> Image.Image:
    """Decode how opaque a picture is to mode L, all 255 where it has no transparency.

    Raises what `open_rgb` raises.
    """
    return _opened(path, _alpha)


def _opened(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        with open(reachable(path), "rb") as file:
            picture = _open(path, file)
            _info(path, picture)
            turn = TURNS.get(orientation(picture.info.get("exif")))
            converted = convert(_decode(path, picture))
            return converted if turn is None else converted.transpose(turn)
    except OSError as error:
        raise _unreachable(path, error) from error


def _unreachable(path: Path, error: OSError) -> PictureProblem:
    if path.is_symlink() and not path.exists():
        return PictureProblem(
            path, "is a link to a file that is not there", "mend the link", lasting=False
        )
    reason = error.strerror or str(error)
    return PictureProblem(
        path, f"can't be opened ({reason})", "check the file and its permissions", lasting=False
    )


def _open(path: Path, file: BinaryIO) -> Image.Image:
    """Open by contents, whatever the name says; the header only, except for WebP and AVIF."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise PictureProblem(path, "is empty (0 bytes)", "delete it or copy it again")
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except DECODE_ERRORS as error:
        raise _unreadable(path, file, error) from error


def _unreadable(path: Path, file: BinaryIO, error: Exception) -> PictureProblem:
    file.seek(0)
    kind = _kind_by_mark(file.read(12))
    if kind and not _has_end(file, kind):
        return _cut_off(path)
    if isinstance(error, UnidentifiedImageError):
        return PictureProblem(
            path,
            "is not a picture of a known kind, or its beginning is damaged",
            "save it again as PNG or JPEG, or delete it",
        )
    return _damaged(path, error)


def _kind_by_mark(start: bytes) -> str | None:
    """The format that a file's first twelve bytes promise."""
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        return "AVIF"
    marks = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF"}
    return next((kind for mark, kind in marks.items() if start.startswith(mark)), None)


def _damaged(path: Path, error: Exception) -> PictureProblem:
    if "truncated" in str(error).lower():
        return _cut_off(path)
    return PictureProblem(
        path, f"is damaged ({error})", "copy it again, or save it again as PNG or JPEG"
    )


def _too_large(path: Path) -> PictureTooLarge:
    return PictureTooLarge(
        path,
        f"has more than {MAX_PIXELS // 1_000_000} million pixels",
        "make it smaller; training scales pictures down to about one million anyway",
    )


def _cut_off(path: Path) -> PictureProblem:
    return PictureProblem(
        path, "is cut off (its end is missing)", "copy or download it again, or delete it"
    )


def _info(path: Path, picture: Image.Image) -> PictureInfo:
    kind = picture.format or "?"
    _check_size(path, picture.size)
    try:
        frames = int(getattr(picture, "n_frames", 1))
    except DECODE_ERRORS as error:
        raise _damaged(path, error) from error
    # An MPO file is a JPEG photo with further views behind it; the first one is the photo.
    if frames > 1 and kind != "MPO":
        raise _animated(path)
    size = as_seen(picture.size, orientation(picture.info.get("exif")))
    return PictureInfo(size, picture.mode, kind, frames, _has_alpha(picture))


def _probe_webp(path: Path, file: BinaryIO) -> PictureInfo | None:
    """What `_info` says of a WebP file, without Pillow; None for other and for odd files."""
    header = read_webp_header(file)
    if header is None:
        return None
    _check_size(path, header.size)
    if header.is_animated:
        raise _animated(path)
    size = as_seen(header.size, orientation(header.exif))
    return PictureInfo(size, "RGBA" if header.has_alpha else "RGB", "WEBP", 1, header.has_alpha)


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(path)
    if min(size) < 1:
        raise PictureProblem(path, "has no pixels", "delete it or save it again")


def _animated(path: Path) -> PictureProblem:
    return PictureProblem(
        path, "is animated", "save one of its frames as a still picture, or delete it"
    )


def as_seen(size: tuple[int, int], turned: int) -> tuple[int, int]:
    """Return (width, height) of a picture whose EXIF orientation is `turned`, 1 to 8."""
    return (size[1], size[0]) if turned >= 5 else size


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def orientation(data: object) -> int:
    """Return the orientation, 1 to 8, that EXIF data tells; 1 where it says nothing usable."""
    if not isinstance(data, bytes):
        return 1
    exif = Image.Exif()
    try:
        exif.load(data)
        value = exif.get(_ORIENTATION_TAG, 1)
    except DECODE_ERRORS:
        return 1  # damaged EXIF data says nothing about the pixels
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode(path: Path, picture: Image.Image) -> Image.Image:
    try:
        picture.load()
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except DECODE_ERRORS as error:
        raise _damaged(path, error) from error
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        picture = _upper_bits(picture)
    if _has_alpha(picture):
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture.convert("RGB")


def _red(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return _upper_bits(picture)
    return picture.convert("RGB").getchannel("R")


def _alpha(picture: Image.Image) -> Image.Image:
    if not _has_alpha(picture):
        return Image.new("L", picture.size, 255)
    return picture.convert("RGBA").getchannel("A")


def _upper_bits(picture: Image.Image) -> Image.Image:
    """The upper eight bits of 16-bit greys; Pillow's own conversion clips them all to white."""
    upper = 0 if picture.mode == "I;16B" else 1
    return Image.frombytes("L", picture.size, picture.tobytes()[upper::2])


def _has_end(file: BinaryIO, kind: str) -> bool:
    """Whether the file's last bytes hold the mark that ends its format, as far as there is one."""
    size = os.fstat(file.fileno()).st_size
    if kind == "AVIF":
        return _boxes_end(file, size)
    if kind in _LENGTH_AT:
        start, header = _LENGTH_AT[kind]
        file.seek(start)
        return size >= int.from_bytes(file.read(4), "little") + header
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    if kind in ("JPEG", "MPO"):
        return b"\xff\xd9" in tail
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in tail
    return kind == "GIF" and tail.rstrip(b"\0").endswith(b";")


def _boxes_end(file: BinaryIO, size: int) -> bool:
    """Whether the boxes that an AVIF file is made of end within it."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length = int.from_bytes(file.read(4), "big")
        if length == 1:  # the real length follows the box's name
            file.seek(4, os.SEEK_CUR)
            length = int.from_bytes(file.read(8), "big")
        if length == 0:  # up to the end of the file
            return True
        if length < 8:
            return False
        position += length
    return position <= size


def _check_whole(path: Path, file: BinaryIO, kind: str) -> None:
    """Decode a file that looks cut off, to be sure: much may follow the pixels of a good one."""
    if kind == "WEBP":
        raise _cut_off(path)
    if kind in ("JPEG", "MPO"):
        file.seek(0)
        end = file.read().rstrip(b"\0")
        if b"\xff\xd9" not in end[-_TAIL_BYTES:] and len(end) < file.tell():
            raise _cut_off(path)  # filled up with zeros, as broken downloads are
    file.seek(0)
    _decode(path, _open(path, file))
