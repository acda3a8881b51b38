"""Masks of what is in front: the model's numbers, the files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from sd_scripts.captioning.entry import run_masking
from sd_scripts.captioning.subject_masks import LOOKS, kind_of, normalised, stretched
from sd_scripts.dataset.mask_files import find_mask, mask_path
from sd_scripts.dataset.pictures import open_mask
from tests.captioning.jobs import Bench


def make_model(path: Path, side: int = 8, channels: int = 3) -> Path:
    """Write a model for which the brighter is the more of the subject."""
    nodes = [
        helper.make_node("ReduceMean", ["input", "axis"], ["found"], keepdims=1),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    shape = [1, channels, side, side]
    graph = helper.make_graph(
        nodes,
        "subject",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 1, side, side])],
        [axis],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture
def job(tmp_path: Path) -> Bench:
    folder = tmp_path / "pictures"
    (folder / "2_cat").mkdir(parents=True)
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = 255  # the right half is the subject
    Image.fromarray(pixels).save(folder / "wide.png")
    Image.fromarray(pixels[:, 8:24]).save(folder / "2_cat" / "a.jpg")
    options: dict[str, object] = {
        "mask_model": make_model(tmp_path / "model.onnx"),
        "mask_dir": tmp_path / "masks",
        "recursive": True,
    }
    return Bench(folder, tmp_path, run_masking, options)


def test_masks_have_the_place_and_size_that_a_masked_loss_reads(job: Bench) -> None:
    before = {path: path.read_bytes() for path in job.pictures.rglob("*.*")}
    assert job.run() == 0
    masks = job.place / "masks"
    names = sorted(path.relative_to(masks).as_posix() for path in masks.rglob("*.png"))
    assert names == ["2_cat/a.png", "wide.png"]
    mask = open_mask(masks / "wide.png")
    assert mask.size == (32, 16)
    assert (mask.getpixel((2, 8)), mask.getpixel((29, 8))) == (0, 255)
    assert {path: path.read_bytes() for path in before} == before
    assert job.end().reason == "Finished: 2 of 2 pictures have a mask now"
    assert job.run("again") == 0
    assert job.end("again").reason == "Finished: every picture has a mask already"


def test_pixels_as_rembg_prepares_them() -> None:
    picture = Image.new("RGB", (4, 4), (128, 64, 0))
    found = normalised(picture, 2, LOOKS["u2net"])
    # The brightest value becomes 1: 1, 0.5, 0; then ImageNet's mean and deviation.
    wanted = [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225]
    assert found.shape == (3, 2, 2)
    assert found[:, 0, 0] == pytest.approx(wanted, abs=1e-5)
    centred = normalised(picture, 2, LOOKS["isnet"])
    assert centred[:, 0, 0] == pytest.approx([0.5, 0.0, -0.5], abs=1e-6)


def test_values_are_stretched_to_black_and_white() -> None:
    assert stretched(np.array([[1, 3], [2, 1]], np.float32), sigmoid=False).tolist() == [
        [0, 255],
        [128, 0],
    ]
    assert stretched(np.array([[7, 7]], np.float32), sigmoid=False).tolist() == [[0, 0]]
    assert stretched(np.array([[-99, 99, 0]], np.float32), sigmoid=True).tolist() == [[0, 255, 128]]


def test_kinds_and_places() -> None:
    assert kind_of(Path("isnet-general-use.onnx"), None) == "isnet"
    assert kind_of(Path("silueta.onnx"), None) == "u2net"
    assert kind_of(Path("isnet.onnx"), "birefnet") == "birefnet"
    pictures, masks = Path("/p"), Path("/m")
    assert mask_path(Path("/p/a.b.jpg"), pictures, masks) == Path("/m/a.b.png")
    assert mask_path(Path("/p/x/3_cat/a.jpg"), pictures, masks) == Path("/m/3_cat/a.png")
    assert find_mask(Path("/p/a.jpg"), pictures, masks) is None


def test_no_mask_takes_the_place_of_a_picture_in_a_folder_inside(
    job: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (job.pictures / "wide.png").unlink()
    picture = job.pictures / "2_cat" / "a.jpg"
    Image.open(picture).save(picture.with_suffix(".png"))
    picture.unlink()
    before = picture.with_suffix(".png").read_bytes()
    assert job.run(mask_dir=job.pictures) == 2
    assert "written onto the pictures" in capsys.readouterr().err
    assert picture.with_suffix(".png").read_bytes() == before


def test_of_pictures_that_would_share_a_mask_the_later_are_left_out(
    job: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = job.pictures / "more" / "2_cat"
    twin.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(twin / "a.png")
    assert job.run() == 0
    assert open_mask(job.place / "masks" / "2_cat" / "a.png").size == (16, 16)
    assert job.end().reason == "Finished: 2 of 2 pictures have a mask now"
    assert "would share its mask" in "".join(capsys.readouterr())


def test_masks_that_lie_flat_stay_together(tmp_path: Path) -> None:
    pictures, masks = tmp_path / "set", tmp_path / "masks"
    (pictures / "2_cat").mkdir(parents=True)
    masks.mkdir()
    for path in (*(pictures / "2_cat" / f"{name}.jpg" for name in "ab"), masks / "a.png"):
        path.touch()
    assert find_mask(pictures / "2_cat" / "a.jpg", pictures, masks) == masks / "a.png"
    assert mask_path(pictures / "2_cat" / "b.jpg", pictures, masks) == masks / "b.png"
    (pictures / "a.jpg").touch()  # now that mask is another picture's
    assert find_mask(pictures / "2_cat" / "a.jpg", pictures, masks) is None
    (masks / "2_cat").mkdir()
    assert mask_path(pictures / "2_cat" / "b.jpg", pictures, masks) == masks / "2_cat" / "b.png"


def test_what_cannot_be_done_is_told(job: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.run(mask_dir=job.pictures) == 2
    assert "written onto the pictures" in capsys.readouterr().err
    assert job.run("b", mask_model=job.place / "none.onnx") == 2
    assert "none.onnx is not there" in capsys.readouterr().err
    make_model(job.place / "grey.onnx", channels=1)
    assert job.run("c", mask_model=job.place / "grey.onnx") == 2
    assert "not a model that finds a subject" in capsys.readouterr().err
    (job.place / "broken.onnx").write_bytes(b"x")
    assert job.run("d", mask_model=job.place / "broken.onnx") == 2
    assert "cannot be loaded" in capsys.readouterr().err
