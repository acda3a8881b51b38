"""The doctor finds what it should, in pictures made for it, and leaves the others alone."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from kohya_gui.locales.told import told_in
from sd_scripts.dataset.doctor.compression import blockiness, jpeg_quality
from sd_scripts.dataset.doctor.examine import CHECKS, Examination, Listening, examine
from sd_scripts.dataset.doctor.findings import Finding, Report, report_from_json
from sd_scripts.dataset.doctor.likeness import near_groups
from sd_scripts.dataset.doctor.measure import Measures, measure
from sd_scripts.dataset.doctor.pixels import borders, perceptual_hash
from sd_scripts.dataset.doctor.report_text import in_lines
from sd_scripts.dataset.doctor.view import CaptionWishes
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions


def scene(seed: int, size: tuple[int, int] = (256, 256)) -> Image.Image:
    """Sharp shapes of many colours."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", size, tuple(int(value) for value in rng.integers(60, 200, 3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y = (int(rng.integers(-20, side)) for side in size)
        width, height = (int(value) for value in rng.integers(10, 90, 2))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), fill=colour)
    return picture


def letter_boxed(seed: int) -> Image.Image:
    picture = Image.new("RGB", (256, 256), "black")
    picture.paste(scene(seed, (256, 180)), (0, 38))
    return picture


def on_white(seed: int) -> Image.Image:
    """A round thing before a white background: no border, not over-exposed."""
    picture = Image.new("RGB", (256, 256), "white")
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).ellipse((40, 60, 200, 220), fill=255)
    picture.paste(scene(seed), mask=mask)
    return picture


def faded(seed: int, low: int, high: int) -> Image.Image:
    """A scene with only the brightness between two values."""
    return scene(seed).point(lambda value: low + value * (high - low) // 255)


def old_jpeg(seed: int) -> Image.Image:
    """A PNG of what once was a bad JPEG."""
    buffer = io.BytesIO()
    scene(seed).filter(ImageFilter.GaussianBlur(1)).save(buffer, "JPEG", quality=8)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def cut_out(seed: int) -> Image.Image:
    picture = scene(seed).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 256, 100))
    return picture


def half_soft(seed: int) -> Image.Image:
    """A sharp middle before a soft background, as portraits are."""
    picture = scene(seed).filter(ImageFilter.GaussianBlur(9))
    picture.paste(scene(seed + 1).crop((60, 60, 190, 190)), (60, 60))
    return picture


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "good1.png": lambda: scene(1),
    "good2.png": lambda: scene(2),
    "sharp_middle.png": lambda: half_soft(3),
    "thing_on_white.png": lambda: on_white(5),
    "soft.png": lambda: scene(6).filter(ImageFilter.GaussianBlur(7)),
    "dark.png": lambda: faded(7, 0, 30),
    "bright.png": lambda: faded(8, 225, 255),
    "old_jpeg.png": lambda: old_jpeg(9),
    "boxed.png": lambda: letter_boxed(10),
    "cut_out.png": lambda: cut_out(11),
    "small.png": lambda: scene(12, (150, 150)),
    "long.png": lambda: scene(13, (1400, 256)),
    "twin_a.png": lambda: scene(14, (300, 300)),
    "twin_b.png": lambda: scene(14, (300, 300)).resize((280, 280)),
    "mirrored.png": lambda: scene(14, (300, 300)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}

EXPECTED: dict[str, set[str]] = {
    "unreadable": {"broken.png", "cut_off.png"},
    "blurred": {"soft.png"},
    "too_dark": {"dark.png"},
    "too_bright": {"bright.png"},
    "compressed": {"old_jpeg.png", "bad.jpg"},
    "bordered": {"boxed.png"},
    "transparent": {"cut_out.png"},
    "turned": {"turned.jpg"},
    "too_small": {"small.png"},
    "extreme_shape": {"long.png"},
    "same": {"good2.png", "copy.png"},
    "several_folders": {"good1.png"},
    "near": {"twin_a.png", "twin_b.png", "mirrored.png"},
    "no_caption": {"dark.png"},
    "empty_caption": {"bright.png"},
    "bad_caption": {"cut_out.png"},
    "same_caption": {"good2.png", "copy.png"},
    "no_trigger": {"boxed.png"},
    "too_long": {"small.png"},
    "cropped": {"long.png"},
    "lonely": {"long.png"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doctor") / "train"
    cats = root / "1_ohwx cat"
    cats.mkdir(parents=True)
    for name, make in PICTURES.items():
        make().save(cats / name)
    scene(20).save(cats / "fine.jpg", quality=90)
    scene(21).save(cats / "bad.jpg", quality=20)
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(22).save(cats / "turned.jpg", quality=90, exif=exif.tobytes())
    (cats / "broken.png").write_bytes(b"nothing")
    whole = (cats / "good1.png").read_bytes()
    (cats / "cut_off.png").write_bytes(whole[: len(whole) // 2])
    shutil.copy(cats / "good2.png", cats / "copy.png")
    (root / "2_dog").mkdir()
    shutil.copy(cats / "good1.png", root / "2_dog" / "good1.png")
    for path in root.rglob("*.*"):
        text = f"ohwx, {path.stem} of {path.parent.name}"
        texts = {"dark": None, "bright": "", "boxed": "a boxed cat", "small": "ohwx " + "x " * 90}
        texts |= {"good2": "Ohwx, twice", "copy": "ohwx,  twice"}
        if (found := texts.get(path.stem, text)) is not None:
            path.with_suffix(".txt").write_text(found)
    (cats / "cut_out.txt").write_bytes(b"ohwx\0\xff")
    return root


def examination(folder: Path, **options: Any) -> Examination:
    values = {
        "train_data_dir": str(folder),
        "cache_dir": str(folder.parent / "cache"),
        "resolution": 256,
        "enable_bucket": True,
        "min_bucket_reso": 128,
        "max_bucket_reso": 512,
        "train_batch_size": 2,
    }
    data = DataOptions.model_validate(values | options)
    return Examination(data, CaptionOptions(caption_extension=".txt"), "sd1")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    found, _ = examine(examination(folder))
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    return found


def finding(report: Report, code: str) -> Finding:
    (found,) = (one for one in report.findings if one.code == code)
    return found


@pytest.mark.parametrize("code", EXPECTED)
def test_a_check_finds_what_it_should_and_nothing_else(report: Report, code: str) -> None:
    found = finding(report, code)
    assert {Path(name).name for name in found.pictures} == EXPECTED[code]
    assert found.verdict.endswith(".")


def test_every_finding_is_expected_and_can_be_told(report: Report) -> None:
    assert {one.code for one in report.findings} == {*EXPECTED, "unequal"}
    assert report_from_json(report.to_json()) == report
    lines = "\n".join(in_lines(report))
    assert all(one.verdict in lines for one in report.findings)
    assert "4 of 20 pictures are as they should be" in report.verdict
    told = [report.verdict, *(one.verdict for one in report.findings)]
    told += [remedy.label for one in report.findings for remedy in one.remedies]
    assert [text for text in told if told_in("ja", text) == text] == []
    with pytest.raises(ValueError, match="no report"):
        report_from_json('{"version": 1}')


def test_remedies_fit_their_pictures(report: Report, folder: Path) -> None:
    cats = folder / "1_ohwx cat"
    inside = finding(report, "bordered").remedies[0].windows[str(cats / "boxed.png")]
    assert (inside.left, inside.right) == (0, 256)
    assert 38 <= inside.top <= 41
    assert 215 <= inside.bottom <= 218
    best = finding(report, "near").remedies[0].pictures
    assert str(cats / "twin_b.png") in best
    assert len(best) == 2
    assert finding(report, "lonely").remedies[0].windows[str(cats / "long.png")].size == (256, 256)
    assert finding(report, "extreme_shape").remedies[0].windows[str(cats / "long.png")].size == (
        512,
        256,
    )
    assert finding(report, "no_trigger").remedies[0].prefix == "ohwx, "
    repeats = finding(report, "unequal").remedies[0].repeats
    assert repeats[str(folder / "2_dog")] > repeats[str(cats)] == 1


def test_a_wish_for_another_word_and_a_stop(folder: Path) -> None:
    base = examination(folder)
    skipped = [name for name in CHECKS if name != "trigger"]
    wishes = CaptionWishes(trigger="cat")
    what = Examination(base.data, base.caption, "sd1", wishes, skipped)
    found, _ = examine(what, Listening(should_stop=lambda: True))
    assert [one.code for one in found.findings] == ["no_trigger"]
    assert not found.complete


@pytest.mark.parametrize("quality", [25, 35, 50, 75, 95])
def test_jpeg_quality_is_read_from_the_tables(quality: int) -> None:
    buffer = io.BytesIO()
    scene(1).save(buffer, "JPEG", quality=quality)
    tables = Image.open(io.BytesIO(buffer.getvalue())).quantization  # type: ignore[attr-defined]
    assert jpeg_quality(tables) == pytest.approx(quality, abs=1)


def test_blocks_are_steps_on_a_grid() -> None:
    steps = np.kron(np.random.default_rng(0).integers(0, 99, (20, 20)), np.ones((8, 8)))
    assert blockiness(steps.astype(np.float32)[3:, 5:]) > 5
    noise = np.random.default_rng(1).integers(0, 255, (160, 160)).astype(np.float32)
    assert blockiness(noise) < 1.2
    assert blockiness(noise[:30]) == 0


def test_a_thing_before_a_plain_ground_has_no_border() -> None:
    small = Image.new("RGB", (256, 256), "blue")
    small.paste(scene(1, (90, 60)), (80, 100))
    assert not borders(np.asarray(small, np.int16))
    assert not borders(np.asarray(on_white(1), np.int16))


def test_a_frame_has_four_bars() -> None:
    framed = Image.new("RGB", (200, 100), "grey")
    framed.paste(scene(2, (180, 84)), (10, 8))
    found = borders(np.asarray(framed, np.int16))
    assert (found.left, found.top, found.right, found.bottom) == (0.05, 0.08, 0.05, 0.08)


def test_bars_at_one_side_are_sky() -> None:
    sky = np.asarray(letter_boxed(3), np.int16).copy()
    sky[-38:] = np.asarray(scene(4), np.int16)[-38:]
    assert not borders(sky)
    assert borders(np.asarray(letter_boxed(3), np.int16)).top == 38 / 256


def test_a_hash_survives_saving_and_scaling() -> None:
    def of(picture: Image.Image) -> int:
        small = picture.convert("L").resize((32, 32), Image.Resampling.BOX)
        return perceptual_hash(np.asarray(small, np.float32))

    first, other = of(scene(1)), of(scene(2))
    again = of(scene(1).resize((100, 120)).point(lambda value: min(255, value + 20)))
    assert (first ^ again).bit_count() <= 6
    assert (first ^ other).bit_count() > 16


def test_groups_among_thousands() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 3000)
    tiny = rng.integers(0, 256, (3000, 256), dtype=np.uint8)
    hashes[2500], tiny[2500] = int(hashes[10]) ^ 5, tiny[10]
    hashes[2999], tiny[2999] = int(hashes[2500]) ^ 1024, tiny[10]
    hashes[77] = hashes[78]  # a chance of the hash: the pictures differ
    measures = {
        Path(str(number)): Measures(fingerprint=int(one), mirrored=0, tiny=small.tobytes())
        for number, (one, small) in enumerate(zip(hashes, tiny, strict=True))
    }
    assert near_groups(measures) == [[Path("10"), Path("2500"), Path("2999")]]


def test_a_window_is_measured_not_the_whole(tmp_path: Path) -> None:
    letter_boxed(1).save(tmp_path / "a.png")
    from sd_scripts.dataset.decisions import CropWindow

    assert measure(tmp_path / "a.png").borders
    part = measure(tmp_path / "a.png", CropWindow(0, 40, 256, 216))
    assert (part.size, part.used, bool(part.borders)) == ((256, 256), (256, 176), False)
