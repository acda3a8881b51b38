"""Very large pictures: refused by name, or scaled while they are decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sd_scripts.dataset import large_pictures, pictures
from sd_scripts.dataset.large_pictures import open_scaled
from sd_scripts.dataset.pictures import PictureProblem, PictureTooLarge, open_rgb


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 40,000 pixels were as many as 178 million."""
    monkeypatch.setattr(pictures, "MAX_PIXELS", 40_000)
    monkeypatch.setattr(large_pictures, "MAX_PROGRESSIVE_PIXELS", 80_000)
    monkeypatch.setattr(large_pictures, "ENOUGH_PIXELS", 10_000)


def halves(size: tuple[int, int]) -> Image.Image:
    """Left red, right blue."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2, 0] = 255
    pixels[:, size[0] // 2 :, 2] = 255
    return Image.fromarray(pixels)


def bomb(path: Path, side: int) -> Path:
    """Write a PNG of a few hundred bytes that claims to be `side` pixels wide and high."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 999)), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(data)) + kind + data)
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    path.write_bytes(b"".join(parts))
    return path


def test_a_jpeg_is_scaled_while_it_is_decoded(tmp_path: Path, small_limit: None) -> None:
    path = tmp_path / "wide.jpg"
    halves((400, 200)).save(path, quality=95)
    with pytest.raises(PictureTooLarge, match="more than"):
        open_rgb(path)
    picture, size = open_scaled(path)
    # 80,000 pixels are halved twice until there are at most 10,000.
    assert (picture.size, size) == ((100, 50), (400, 200))
    assert np.abs(np.subtract(picture.getpixel((10, 25)), (255, 0, 0))).max() < 8
    assert np.abs(np.subtract(picture.getpixel((90, 25)), (0, 0, 255))).max() < 8


def test_it_is_turned_as_its_exif_data_says(tmp_path: Path, small_limit: None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise: what was left is on top
    path = tmp_path / "turned.jpg"
    halves((400, 200)).save(path, quality=95, exif=exif)
    picture, size = open_scaled(path)
    assert (picture.size, size) == ((50, 100), (200, 400))
    assert np.abs(np.subtract(picture.getpixel((25, 10)), (255, 0, 0))).max() < 8


def test_a_picture_of_usual_size_is_as_it_was(tmp_path: Path, small_limit: None) -> None:
    path = tmp_path / "usual.jpg"
    halves((200, 200)).save(path)
    picture, size = open_scaled(path)
    assert size == (200, 200)
    assert np.array_equal(np.asarray(picture), np.asarray(open_rgb(path)))


def test_what_cannot_be_scaled_is_still_refused(tmp_path: Path, small_limit: None) -> None:
    halves((400, 200)).save(tmp_path / "wide.png")
    with pytest.raises(PictureTooLarge, match="only JPEG"):
        open_scaled(tmp_path / "wide.png")
    halves((400, 400)).save(tmp_path / "big.jpg", progressive=True)
    with pytest.raises(PictureTooLarge, match="progressive"):
        open_scaled(tmp_path / "big.jpg")
    halves((400, 200)).save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureProblem, match="damaged"):
        open_scaled(tmp_path / "cut.jpg")


def test_a_decompression_bomb_costs_nothing(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png", 60_000)
    assert path.stat().st_size < 300
    for opener in (open_rgb, open_scaled):
        with pytest.raises(PictureTooLarge, match="178 million pixels"):
            opener(path)
