"""Our quick WebP headers say exactly what Pillow says after reading everything."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sd_scripts.dataset.pictures import PictureProblem, probe
from sd_scripts.dataset.webp import read_webp_header
from tests.dataset.zoo import animated, encoded, noisy, put, with_orientation

OPAQUE, CLEAR = noisy((37, 51), "RGB"), noisy((53, 20), "RGBA")
CLEAR.putalpha(100)
EXIF = Image.Exif()
EXIF[0x010F] = "odd"
FILES = {
    "lossy": encoded(OPAQUE, "WEBP"),
    "lossless": encoded(OPAQUE, "WEBP", lossless=True),
    "lossy with alpha": encoded(CLEAR, "WEBP"),
    "lossless with alpha": encoded(CLEAR, "WEBP", lossless=True),
    "with a profile": encoded(OPAQUE, "WEBP", icc_profile=b"x" * 101),
    "with EXIF": encoded(OPAQUE, "WEBP", exif=EXIF.tobytes()),
    "with everything": encoded(CLEAR, "WEBP", exif=EXIF.tobytes(), icc_profile=b"x" * 7),
    "turned": with_orientation("WEBP", 6),
    "moving": animated("WEBP"),
}


def opened(tmp_path, data: bytes):
    return open(put(tmp_path, "a.webp", data), "rb")


@pytest.mark.parametrize("name", FILES)
def test_it_agrees_with_pillow(tmp_path, name):
    with opened(tmp_path, FILES[name]) as file:
        header = read_webp_header(file)
    assert header is not None
    with Image.open(io.BytesIO(FILES[name])) as picture:
        assert header.size == picture.size
        assert header.has_alpha == (picture.mode == "RGBA")
        assert header.is_animated == picture.is_animated
        assert header.exif == picture.info.get("exif")


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", encoded(OPAQUE, "PNG")])
def test_other_files_are_left_to_others(tmp_path, data):
    path = tmp_path / "a"
    path.write_bytes(data)
    with open(path, "rb") as file:
        assert read_webp_header(file) is None


@given(st.sampled_from(sorted(FILES)), st.integers(0, 3000), st.binary(min_size=1, max_size=6))
def test_damage_is_a_problem_or_nothing_but_never_a_crash(tmp_path_factory, name, at, damage):
    data = bytearray(FILES[name])
    data[at : at + len(damage)] = damage
    path = put(tmp_path_factory.mktemp("webp"), "a.webp", bytes(data))
    try:
        info = probe(path)
    except PictureProblem:
        return
    assert min(info.size) >= 1
