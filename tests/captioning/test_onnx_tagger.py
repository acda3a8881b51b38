"""Taggers in ONNX files: every layout, what is wrong with a file, and where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sd_scripts.captioning.labels import find_tagger, read_tags
from sd_scripts.captioning.onnx_tagger import OnnxTagger, choose_provider
from sd_scripts.errors import UserError
from tests.captioning.jobs import tag_job
from tests.support.tiny_captioning import COLOURS, TAGS, make_mapping_tagger, make_tagger

KIND_WORDS = {0: "General", 4: "Character", 9: "Rating"}


def load(folder: Path, **values: Any) -> OnnxTagger:
    files = find_tagger(folder)
    assert files is not None
    return OnnxTagger(files, read_tags(files.tag_list), tag_job(**values))


def tags_of(engine: OnnxTagger, *colours: str) -> list[str]:
    pictures = [Image.new("RGB", (9, 5), COLOURS[colour]) for colour in colours]
    batch = engine.collate([engine.prepare(picture) for picture in pictures])
    return [engine.text(outcome) for outcome in engine.infer(batch)]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("batch", "side"), [("N", 16), (4, 16), ("N", "side")])
def test_input_is_laid_out_as_the_model_wants_it(
    tmp_path: Path, layout: str, batch: int | str, side: int | str
) -> None:
    engine = load(make_tagger(tmp_path, layout=layout, batch=batch, side=side), batch_size=4)
    assert engine.interface.layout == layout
    assert engine.interface.side == (448 if side == "side" else 16)
    assert engine.interface.batch_size == (4 if batch == 4 else None)
    pixels, count = engine.collate([engine.prepare(Image.new("RGB", (5, 5), (1, 2, 3)))])
    assert count == 1
    assert len(pixels) == (4 if batch == 4 else 1)
    first = pixels[0] if layout == "NHWC" else pixels[0].transpose(1, 2, 0)
    # Blue, green, red, 0 to 255.
    assert np.array_equal(first[0, 0], np.array([3, 2, 1], np.float32))
    engine.close()


def test_a_batch_of_fixed_size_is_filled_up_and_told(tmp_path: Path) -> None:
    engine = load(make_tagger(tmp_path, batch=3), batch_size=2, thresh=0.5)
    assert engine.batch_size == 3
    (problem,) = engine.problems
    assert problem.option == "batch_size"
    # A picture twice as wide as high is half white, so colours fade.
    assert len(tags_of(engine, "red", "blue")) == 2


def test_taggers_with_a_mapping_take_other_numbers_and_give_logits(tmp_path: Path) -> None:
    plain = load(make_tagger(tmp_path / "plain"), tag_order="score", thresh=0.05)
    rows = [(name, KIND_WORDS[kind]) for name, kind in TAGS]
    mapped = load(make_mapping_tagger(tmp_path / "mapped", rows), thresh=0.05)
    pixels, _ = mapped.collate([mapped.prepare(Image.new("RGB", (5, 5), (0, 51, 255)))])
    assert pixels.shape == (1, 3, 16, 16)
    assert pixels[0, :, 0, 0] == pytest.approx([1, -0.6, -1])
    for colour in COLOURS:
        assert tags_of(mapped, colour) == tags_of(plain, colour)


def test_tags_are_counted(tmp_path: Path) -> None:
    engine = load(make_tagger(tmp_path), thresh=0.2, undesired_tags="^_^")
    texts = tags_of(engine, "red", "red", "green")
    counted = {tag: sum(tag in text.split(", ") for text in texts) for tag in engine.frequency}
    assert dict(engine.frequency) == counted
    assert "^_^" not in counted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tags": TAGS[:-1]}, "9 numbers, but its list has 10 tags"),
        ({"layout": "NCHW", "side": 3, "channels": 4}, "not pictures of three colours"),
        ({"data": b"no model"}, "cannot be loaded"),
    ],
)
def test_a_model_that_is_no_tagger_is_told(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    make_tagger(tmp_path)
    model = tmp_path / "model.onnx"
    if "tags" in change:
        model.write_bytes((make_tagger(tmp_path / "b", change["tags"]) / "model.onnx").read_bytes())
    elif "data" in change:
        model.write_bytes(change["data"])
    else:
        _write_flat_model(model)
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path)
    assert caught.value.problems[0].option == "model_dir"
    assert caught.value.problems[0].hint


def _write_flat_model(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    values = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 10])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", [values], [out])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_the_best_device_there_is_and_what_is_asked_for() -> None:
    cpu, cuda, dml = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Dml"))
    assert choose_provider(None, [cpu]) == ("cpu", cpu)
    assert choose_provider(None, [dml, cpu]) == ("directml", dml)
    assert choose_provider(None, [dml, cuda, cpu]) == ("cuda", cuda)
    assert choose_provider("cpu", [cuda, cpu]) == ("cpu", cpu)
    with pytest.raises(UserError, match="cannot run taggers on directml") as caught:
        choose_provider("directml", [cuda, cpu])
    assert "cuda or cpu" in (caught.value.problems[0].hint or "")


def test_a_graphics_card_that_does_not_start(tmp_path: Path, monkeypatch: Any) -> None:
    import onnxruntime

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    folder = make_tagger(tmp_path)
    engine = load(folder)
    assert engine.device == "cpu"
    assert [problem.severity for problem in engine.problems] == ["warning"]
    assert [problem.severity for problem in load(folder, device="cuda").problems] == ["error"]
