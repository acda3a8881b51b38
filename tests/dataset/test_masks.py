"""Masks find their pictures, and what does not fit together is told by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.dataset.pictures import open_alpha, open_mask
from sd_scripts.dataset.plan import DatasetPlan
from sd_scripts.dataset.samples import MaskSource
from tests.dataset.jobs import only, planned, told

SIZE = (64, 96)


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folders of pictures, and masks for them in folders of the same names."""
    for folder in ("2_cat", "3_dog"):
        for name in ("a", "b"):
            save(tmp_path / "pictures" / folder / f"{name}.png")
            save(tmp_path / "masks" / folder / f"{name}.bmp", "L")
    return tmp_path


def plan(root: Path, **options: object) -> DatasetPlan:
    masks: dict[str, object] = {
        "masked_loss": True,
        "conditioning_data_dir": root / "masks",
        "train_data_dir": root / "pictures",
        "resolution": (64, 64),
    }
    return planned(root / "cache", **{**masks, **options})


def masks_of(found: DatasetPlan, root: Path) -> dict[str, str | None]:
    return {
        sample.path.relative_to(root).as_posix(): sample.mask
        and f"{sample.mask.path.relative_to(root).as_posix()} {sample.mask.channel}"
        for sample in found.samples
    }


def test_folders_of_masks_are_named_as_those_of_the_pictures(root: Path) -> None:
    found = plan(root)
    assert not told(found, "error")
    assert not told(found, "warning", "conditioning_data_dir")
    assert masks_of(found, root) == {
        f"pictures/{folder}/{name}.png": f"masks/{folder}/{name}.bmp red"
        for folder in ("2_cat", "3_dog")
        for name in ("a", "b")
    }


def test_one_folder_of_masks_may_serve_all(root: Path) -> None:
    os.rename(root / "pictures" / "3_dog" / "a.png", root / "pictures" / "3_dog" / "c.png")
    os.rename(root / "pictures" / "3_dog" / "b.png", root / "pictures" / "3_dog" / "d.png")
    for name in "abcd":
        save(root / "flat" / f"{name}.png", "L")
    found = plan(root, conditioning_data_dir=root / "flat")
    assert not told(found, "error")
    assert not told(found, "warning", "conditioning_data_dir")
    assert masks_of(found, root)["pictures/3_dog/d.png"] == "flat/d.png red"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda masks: os.unlink(masks / "2_cat" / "b.bmp"), ["b.png", "without a mask"]),
        (lambda masks: save(masks / "2_cat" / "b.png", "L"), ["b.bmp and b.png"]),
        (
            lambda masks: save(masks / "2_cat" / "b.bmp", "L", (96, 64)),
            ["b.bmp", "96x64 instead of 64x96"],
        ),
        (lambda masks: (masks / "2_cat" / "b.bmp").write_bytes(b""), ["b.bmp", "is empty"]),
    ],
)
def test_what_does_not_match_is_an_error(
    root: Path, change: Callable[[Path], object], names: list[str]
) -> None:
    change(root / "masks")
    problem = only(told(plan(root), "error"))
    assert problem.option == "conditioning_data_dir"
    assert problem.hint
    assert all(name in problem.message for name in names), problem.message


def test_masks_without_a_picture_are_told(root: Path) -> None:
    save(root / "masks" / "3_dog" / "z.png", "L")
    problem = only(told(plan(root), "warning", "conditioning_data_dir"))
    assert "z.png" in problem.message


def test_a_folder_of_masks_that_is_not_there_is_told(root: Path) -> None:
    problems = told(plan(root, conditioning_data_dir=root / "gone"), "error")
    assert {problem.option for problem in problems} == {"conditioning_data_dir"}


def test_without_masked_loss_no_mask_is_looked_for(root: Path) -> None:
    found = plan(root, masked_loss=False)
    assert set(masks_of(found, root).values()) == {None}


def test_transparency_is_a_mask_where_there_is_any(root: Path) -> None:
    save(root / "pictures" / "2_cat" / "a.png", "RGBA")
    found = plan(root, masked_loss=False, conditioning_data_dir=None, alpha_mask=True)
    assert masks_of(found, root) == {
        "pictures/2_cat/a.png": "pictures/2_cat/a.png alpha",
        "pictures/2_cat/b.png": None,
        "pictures/3_dog/a.png": None,
        "pictures/3_dog/b.png": None,
    }
    assert "3_dog" in only(told(found, "warning", "alpha_mask")).message


def test_regularisation_pictures_take_no_masks_from_the_option(root: Path) -> None:
    for name in ("a", "b"):
        save(root / "reg" / "1_pet" / f"{name}.png")
    found = plan(root, reg_data_dir=root / "reg")
    assert not told(found, "error")
    assert {sample.mask for sample in found.samples if sample.is_reg} == {None}


def config(root: Path, subset: str) -> Path:
    file = root / "data.toml"
    file.write_text(
        "[[datasets]]\nresolution = 64\n[[datasets.subsets]]\n"
        f"image_dir = '{root / 'pictures' / '2_cat'}'\n{subset}\n"
    )
    return file


@pytest.mark.parametrize("named", ["in full", "beside the file"])
def test_a_dataset_file_names_masks_for_each_subset(root: Path, named: str) -> None:
    folder = root / "masks" / "2_cat" if named == "in full" else "masks/2_cat"
    file = config(root, f"conditioning_data_dir = '{folder}'")
    values = {"dataset_config": file, "train_data_dir": None, "conditioning_data_dir": None}
    found = plan(root, **values)
    assert not told(found, "error")
    expected = MaskSource(root / "masks" / "2_cat" / "a.bmp", "red")
    assert found.samples[0].mask == expected
    off = plan(root, masked_loss=False, **values)
    assert {sample.mask for sample in off.samples} == {None}
    assert "masked_loss" in only(told(off, "warning", "dataset_config")).message


def test_a_dataset_file_without_masks_cannot_have_a_masked_loss(root: Path) -> None:
    file = config(root, "alpha_mask = false")
    values = {"dataset_config": file, "train_data_dir": None, "conditioning_data_dir": None}
    problem = only(told(plan(root, **values), "error"))
    assert problem.option == "masked_loss, conditioning_data_dir"
    file.write_text(file.read_text().replace("false", "true"))
    save(root / "pictures" / "2_cat" / "b.png", "RGBA")
    found = plan(root, **values)
    assert not told(found, "error")
    assert [bool(sample.mask) for sample in found.samples] == [False, True]


def test_channels_are_taken_as_they_are(tmp_path: Path) -> None:
    """A mask's own transparency does not matter: what is painted counts."""
    picture = Image.new("RGBA", (4, 2), (200, 0, 0, 0))
    picture.putpixel((0, 0), (10, 255, 255, 128))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "m.png", exif=exif)
    mask, alpha = open_mask(tmp_path / "m.png"), open_alpha(tmp_path / "m.png")
    assert (mask.mode, mask.size, alpha.size) == ("L", (2, 4), (2, 4))
    assert mask.getpixel((1, 0)) == 10
    assert alpha.getpixel((1, 0)) == 128
    assert mask.getpixel((0, 0)) == 200
    assert alpha.getpixel((0, 0)) == 0


@pytest.mark.parametrize(
    ("mode", "colour", "red"),
    [("1", 1, 255), ("L", 77, 77), ("RGB", (5, 6, 7), 5), ("I;16", 0x1234, 0x12)],
)
def test_masks_of_every_kind(tmp_path: Path, mode: str, colour: object, red: int) -> None:
    Image.new(mode, (3, 3), colour).save(tmp_path / "m.png")  # type: ignore[arg-type]
    assert open_mask(tmp_path / "m.png").getpixel((1, 1)) == red
    assert open_alpha(tmp_path / "m.png").getpixel((1, 1)) == 255
