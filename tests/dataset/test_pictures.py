"""Every kind of picture is read right or refused by name."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from sd_scripts.dataset import pictures
from sd_scripts.dataset.pictures import PictureProblem, open_rgb, probe, reachable, shown
from tests.dataset.zoo import (
    animated,
    encoded,
    grey16,
    huge_png,
    noisy,
    put,
    quadrants,
    with_orientation,
)

KINDS = ["PNG", "JPEG", "WEBP", "BMP", "AVIF"]


def near(pixel, colour, tolerance=60):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, colour, strict=True))


def refusal(action, path):
    with pytest.raises(PictureProblem) as caught:
        action(path)
    assert caught.value.path == path
    assert caught.value.hint
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_good_pictures_are_probed_and_opened(tmp_path, kind):
    path = put(tmp_path, f"a.{kind.lower()}", encoded(quadrants(), kind))
    info = probe(path)
    assert (info.size, info.mode, info.format, info.frames) == ((64, 32), "RGB", kind, 1)
    assert not info.has_alpha
    picture = open_rgb(path)
    assert (picture.size, picture.mode) == ((64, 32), "RGB")
    assert near(picture.getpixel((8, 8)), (255, 0, 0))
    assert near(picture.getpixel((56, 24)), (255, 255, 255))


@pytest.mark.parametrize("kind", KINDS)
def test_the_contents_decide_the_format_not_the_name(tmp_path, kind):
    path = put(tmp_path, "a.jpg", encoded(quadrants(), kind))
    assert probe(path).format == kind


# Where the red quarter (top left when stored) is seen, and its neighbours by EXIF 2.32, 4.6.5
CORNERS = {
    1: ("red", "lime", "blue"),
    2: ("lime", "red", "white"),
    3: ("white", "blue", "lime"),
    4: ("blue", "white", "red"),
    5: ("red", "blue", "lime"),
    6: ("blue", "red", "white"),
    7: ("white", "lime", "blue"),
    8: ("lime", "white", "red"),
}
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", sorted(CORNERS))
def test_exif_rotation_is_applied_alike_by_probe_and_open(tmp_path, kind, orientation):
    path = put(tmp_path, "a.img", with_orientation(kind, orientation))
    picture = open_rgb(path)
    assert probe(path).size == picture.size == ((32, 64) if orientation >= 5 else (64, 32))
    width, height = picture.size
    top_left, top_right, bottom_left = CORNERS[orientation]
    assert near(picture.getpixel((4, 4)), COLOURS[top_left])
    assert near(picture.getpixel((width - 5, 4)), COLOURS[top_right])
    assert near(picture.getpixel((4, height - 5)), COLOURS[bottom_left])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"E"])
def test_damaged_exif_is_no_rotation(tmp_path, exif):
    path = put(tmp_path, "a.jpg", encoded(quadrants(), "JPEG", exif=exif))
    assert probe(path).size == open_rgb(path).size == (64, 32)


def test_sixteen_bit_greys_keep_their_upper_bits(tmp_path):
    path = put(tmp_path, "a.png", grey16([0, 255, 256, 0x8000, 0xFFFF, 0x1234], width=3))
    picture = open_rgb(path)
    greys = [picture.getpixel((x, y))[0] for y in range(2) for x in range(3)]
    assert greys == [0, 0, 1, 0x80, 0xFF, 0x12]
    assert probe(path).mode.startswith("I;16")


def test_transparent_parts_become_white(tmp_path):
    layer = Image.new("RGBA", (4, 1))
    layer.putpixel((0, 0), (255, 0, 0, 255))
    layer.putpixel((1, 0), (0, 0, 0, 0))
    layer.putpixel((2, 0), (0, 0, 0, 128))
    path = put(tmp_path, "rgba.png", encoded(layer, "PNG"))
    picture = open_rgb(path)
    assert probe(path).has_alpha
    assert picture.getpixel((0, 0)) == (255, 0, 0)
    assert picture.getpixel((1, 0)) == (255, 255, 255)
    assert near(picture.getpixel((2, 0)), (127, 127, 127), tolerance=2)

    grey = Image.new("LA", (2, 1), (10, 0))
    grey.putpixel((1, 0), (10, 255))
    path = put(tmp_path, "la.png", encoded(grey, "PNG"))
    assert [open_rgb(path).getpixel((x, 0)) for x in (0, 1)] == [(255,) * 3, (10,) * 3]


def test_a_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    path = put(tmp_path, "p.png", encoded(picture, "PNG", transparency=0))
    assert probe(path).has_alpha
    assert [open_rgb(path).getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]
    plain = put(tmp_path, "q.png", encoded(picture, "PNG"))
    assert not probe(plain).has_alpha
    assert open_rgb(plain).getpixel((0, 0)) == (0, 0, 0)


def test_a_true_colour_png_with_a_transparent_colour(tmp_path):
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 9, 9))
    path = put(tmp_path, "t.png", encoded(picture, "PNG", transparency=(1, 2, 3)))
    assert [open_rgb(path).getpixel((x, 0)) for x in (0, 1)] == [(255,) * 3, (9,) * 3]


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("1", "PNG")])
def test_other_colour_modes(tmp_path, mode, kind):
    path = put(tmp_path, "a", encoded(quadrants().convert(mode), kind))
    assert probe(path).mode == mode
    picture = open_rgb(path)
    assert picture.mode == "RGB"
    if mode == "CMYK":
        assert near(picture.getpixel((8, 8)), (255, 0, 0))
        assert near(picture.getpixel((56, 24)), (255, 255, 255))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animated_pictures_are_refused_by_name(tmp_path, kind):
    path = put(tmp_path, "a.png", animated(kind))
    assert refusal(probe, path) == "is animated"
    assert refusal(open_rgb, path) == "is animated"


def test_a_still_gif_is_a_picture_whatever_its_name(tmp_path):
    path = put(tmp_path, "a.png", encoded(quadrants(), "GIF"))
    assert probe(path).size == open_rgb(path).size == (64, 32)


def test_photos_with_further_views_are_photos(tmp_path):
    views = [quadrants(), noisy()]
    data = encoded(views[0], "MPO", save_all=True, append_images=views[1:])
    path = put(tmp_path, "a.jpg", data)
    assert probe(path).format == "MPO"
    assert near(open_rgb(path).getpixel((8, 8)), (255, 0, 0))


def test_an_empty_file(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert refusal(probe, path) == refusal(open_rgb, path) == "is empty (0 bytes)"


@pytest.mark.parametrize("kind", [*KINDS, "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_cut_off_files_are_found_without_decoding_every_picture(tmp_path, kind, part):
    data = encoded(noisy((300, 200)), kind)
    path = put(tmp_path, "a.img", data[: int(len(data) * part)])
    assert "cut off" in refusal(probe, path)


@pytest.mark.parametrize("kind", KINDS)
def test_good_pictures_are_not_decoded_by_probe(tmp_path, kind, monkeypatch):
    path = put(tmp_path, "a.img", encoded(noisy(), kind))
    monkeypatch.setattr(pictures, "_decode", lambda path, picture: pytest.fail("decoded"))
    probe(path)


def test_a_download_that_was_filled_with_zeros(tmp_path):
    data = encoded(noisy((300, 200)), "JPEG")
    path = put(tmp_path, "a.jpg", data[: len(data) // 2] + bytes(len(data) // 2))
    assert "cut off" in refusal(probe, path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("trailer", [b"\0" * 9000, b"SEFT" * 3000], ids=["zeros", "vendor"])
def test_data_behind_a_whole_picture_is_no_harm(tmp_path, kind, trailer):
    path = put(tmp_path, "a.img", encoded(noisy(), kind) + trailer)
    assert probe(path).size == (96, 64)


def test_damage_inside_is_found_when_decoding(tmp_path):
    data = bytearray(encoded(noisy((200, 200)), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    path = put(tmp_path, "a.png", bytes(data))
    assert probe(path).size == (200, 200)
    assert "damaged" in refusal(open_rgb, path) or "cut off" in refusal(open_rgb, path)


@pytest.mark.parametrize(
    "data",
    [
        b"not a picture at all",
        b"\x89PNG\r\n\x1a\nrubbish",
        b"\xff\xd8\xff",
        b"RIFF\x10\0\0\0WEBPxx",
    ],
)
def test_rubbish_is_refused(tmp_path, data):
    path = put(tmp_path, "a.png", data)
    refusal(probe, path)
    refusal(open_rgb, path)


WHOLE = {kind: encoded(noisy((40, 30)), kind) for kind in [*KINDS, "GIF", "MPO"]}


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 4000), st.binary(min_size=1, max_size=5))
def test_damage_anywhere_is_a_problem_or_harmless_but_never_a_crash(
    tmp_path_factory, kind, at, damage
):
    data = bytearray(WHOLE[kind])
    at %= len(data)
    data[at : at + len(damage)] = damage
    path = put(tmp_path_factory.mktemp("damaged"), "a", bytes(data))
    for action in (probe, open_rgb):
        with contextlib.suppress(PictureProblem):
            action(path)


def test_a_decompression_bomb(tmp_path):
    path = put(tmp_path, "a.png", huge_png(60_000, 60_000))
    assert "more than 178 million pixels" in refusal(probe, path)
    assert "more than 178 million pixels" in refusal(open_rgb, path)


def test_a_bomb_when_another_part_of_the_program_has_lifted_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = put(tmp_path, "a.png", huge_png(60_000, 60_000))
    assert "million pixels" in refusal(open_rgb, path)


def test_a_large_photo_is_no_bomb_and_gives_no_warning(tmp_path):
    path = put(tmp_path, "a.png", huge_png(12_000, 9_000))
    code = "import sys; from sd_scripts.dataset.pictures import *; print(probe(Path(sys.argv[1])))"
    argv = [sys.executable, "-W", "default", "-c", code, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "(12000, 9000)" in done.stdout
    assert "Bomb" not in done.stderr


def test_a_png_with_an_exploding_text_chunk(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "a" * 3_000_000, zip=True)
    path = put(tmp_path, "a.png", encoded(noisy(), "PNG", pnginfo=text))
    assert "damaged" in refusal(probe, path)


def test_links(tmp_path):
    target = put(tmp_path, "target.png")
    link, broken = tmp_path / "link.png", tmp_path / "broken.png"
    link.symlink_to(target)
    broken.symlink_to(tmp_path / "nowhere.png")
    assert probe(link) == probe(target)
    with pytest.raises(PictureProblem) as caught:
        probe(broken)
    assert "link" in caught.value.reason
    assert not caught.value.lasting


def test_a_file_that_is_gone_or_a_folder(tmp_path):
    with pytest.raises(PictureProblem) as caught:
        probe(tmp_path / "gone.png")
    assert not caught.value.lasting
    refusal(open_rgb, tmp_path)


def test_trouble_while_reading_is_of_the_moment(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    path = put(tmp_path, "a.png")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PictureProblem, match=r"can't be opened \(Permission denied\)") as caught:
        probe(path)
    monkeypatch.undo()
    assert not caught.value.lasting


@pytest.mark.parametrize("name", ["кошка 🐈 Ünï.png", "a" * 240 + ".png", "with\nnewline.png"])
def test_odd_names(tmp_path, name):
    path = put(tmp_path, name)
    assert probe(path).size == open_rgb(path).size


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_a_name_that_is_no_text(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(encoded(noisy(), "PNG"))
    assert probe(path).size == (96, 64)
    assert shown(path).encode("utf-8")


def test_a_deep_path(tmp_path):
    folder = tmp_path
    for _ in range(12):
        folder = folder / ("d" * 60)
    assert probe(put(folder, "a.png")).size == (96, 64)


def test_long_paths_get_a_prefix_on_windows_only():
    long = Path("x" * 250)
    assert reachable(long, windows=False) == str(long)
    assert reachable(long, windows=True).startswith("\\\\?\\")
    assert reachable(Path("short.png"), windows=True) == "short.png"
