"""The tagger: the interface of WD14 v3 taggers, the same in torch and in onnxruntime."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from tests.starter.support import TINY_WIDTHS, scene_of
from tools.starter.strangers import Shown
from tools.starter.tagger_model import (
    CHARACTERS,
    RATINGS,
    SIDE,
    Tagger,
    all_tags,
    prepare,
    read_tags,
    true_tags,
    write_tags,
)

NEEDS_EXPORTER = "exporting, which only makers do, needs onnx and onnxscript"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tagger, Path]:
    """Return a tiny tagger and the folder it was written to."""
    pytest.importorskip("onnxscript", reason=NEEDS_EXPORTER)
    from tools.starter.tagger import export

    torch.manual_seed(1)
    tagger = Tagger(len(all_tags()), TINY_WIDTHS)
    tagger.logits(torch.randn(4, 3, 112, 112))
    folder = tmp_path_factory.mktemp("tagger")
    export(tagger, all_tags(), [1] * len(all_tags()), folder)
    return tagger, folder


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    """Open the exported model."""
    return onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )


def test_the_interface_is_that_of_wd14_taggers(exported: tuple[Tagger, Path]) -> None:
    """One input [N, 448, 448, 3] float32, one output [N, tags]."""
    session = session_of(exported[1])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.type, given.shape[1:]) == ("tensor(float)", [448, 448, 3])
    assert isinstance(given.shape[0], str), "any number of pictures"
    assert made.shape[1] == len(all_tags())


@pytest.mark.parametrize("count", [1, 3])
def test_onnxruntime_gives_the_same_as_torch(exported: tuple[Tagger, Path], count: int) -> None:
    """Probabilities, for any number of pictures."""
    tagger, folder = exported
    pictures = torch.rand(count, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(2)) * 255
    session = session_of(folder)
    (made,) = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})
    with torch.no_grad():
        expected = tagger.eval()(pictures).numpy()
    np.testing.assert_allclose(np.asarray(made), expected, atol=1e-5)
    assert (expected[:, 0] > 0.99).all(), "the rating is general"
    assert (expected[:, 1:4] < 0.01).all()


def test_the_file_tells_nothing_of_the_machine_it_was_made_on(
    exported: tuple[Tagger, Path],
) -> None:
    """The exporter notes source files; they are taken out."""
    content = (exported[1] / "model.onnx").read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


def test_red_and_blue_are_told_apart_in_their_order() -> None:
    """The last axis is blue, green, red."""
    torch.manual_seed(1)
    tagger = Tagger(len(all_tags()), TINY_WIDTHS).eval()
    bgr = torch.zeros(1, SIDE, SIDE, 3)
    bgr[..., 2] = 255.0
    red = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand(1, 3, 112, 112)
    with torch.no_grad():
        expected = torch.sigmoid(tagger.logits(red))
        assert torch.allclose(tagger(bgr)[:, len(RATINGS) :], expected, atol=1e-5)


def test_tags_lie_in_the_order_of_wd14_files(tmp_path: Path) -> None:
    """Ratings, then general tags, then characters; each name once."""
    tags = all_tags()
    categories = [tag.category for tag in tags]
    assert categories == [9] * 4 + [0] * (len(tags) - 4 - len(CHARACTERS)) + [4] * len(CHARACTERS)
    assert len({tag.name for tag in tags}) == len(tags)
    write_tags(tags, range(len(tags)), tmp_path / "selected_tags.csv")
    assert read_tags(tmp_path / "selected_tags.csv") == tags
    with (tmp_path / "selected_tags.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["tag_id", "name", "category", "count"]


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        (None, {"apple", "fruit", "large", "blue_background"}),
        ("🐅", {"animal", "large", "blue_background"}),
        ("🔨", {"large", "blue_background"}),
    ],
)
def test_a_stranger_has_no_subject(character: str | None, expected: set[str]) -> None:
    """Only its kind, if that is known."""
    assert true_tags(Shown(scene_of(0), character)) == expected


def test_a_stranger_of_unknown_kind_may_be_an_object() -> None:
    """That is left open; it is no subject, and of no other kind."""
    pytest.importorskip("onnx", reason=NEEDS_EXPORTER)
    from tools.starter.tagger import targets

    tags = all_tags()
    names = [tag.name for tag in tags[len(RATINGS) :]]
    true, counts = targets([Shown(scene_of(0), "🔨"), Shown(scene_of(0), None)], tags)
    assert [name for name, counted in zip(names, counts[0], strict=True) if not counted] == [
        "object"
    ]
    assert {name for name, is_true in zip(names, true[0], strict=True) if is_true} == {
        "large",
        "blue_background",
    }
    assert counts[1].all()
    assert true[1, names.index("fruit")] == 1


@pytest.mark.parametrize("size", [(128, 128), (600, 300), (448, 448)])
def test_pictures_are_prepared_as_wd14_wants_them(size: tuple[int, int]) -> None:
    """Square with white, 448 px, blue first, 0 to 255; transparency is white."""
    made = prepare(Image.new("RGBA", size, (200, 100, 50, 255)))
    assert made.shape == (SIDE, SIDE, 3)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[224, 224], [50, 100, 200], atol=1)
    corner = [255, 255, 255] if size[0] != size[1] else [50, 100, 200]
    np.testing.assert_allclose(made[0, 0], corner, atol=1)
    assert (prepare(Image.new("RGBA", size, (0, 0, 0, 0))) == 255).all()
