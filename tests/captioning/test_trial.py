"""A job tried on one picture: what it would write, with scores, and nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.captioning.trial import main, try_picture
from sd_scripts.errors import UserError
from tests.captioning.jobs import caption_job, tag_job
from tests.support.tiny_captioning import make_captioner, make_tagger, paint


def test_tags_come_with_their_scores(tmp_path: Path) -> None:
    folder = make_tagger(tmp_path / "tagger")
    pictures = paint(tmp_path / "pictures", "red.png")
    job = tag_job(model_dir=str(folder), undesired_tags="red_(paint)", use_rating_tags=True)
    found = try_picture(job, pictures / "red.png")
    assert found["text"] == "sensitive, red_background, old_hat_(hats)_(shop)"
    scores = {one["tag"]: one for one in found["tags"]}
    # Pure red: 9 - 4 = 5 before the sigmoid.
    assert scores["red_background"]["score"] == pytest.approx(0.9933, abs=1e-4)
    assert scores["red_background"]["taken"]
    assert scores["red_background"]["threshold"] == pytest.approx(0.35)
    assert not scores["green_background"]["taken"]
    assert (scores["red_(paint)"]["taken"], scores["red_(paint)"]["threshold"]) == (False, None)
    assert scores["sensitive"]["taken"]
    assert not scores["general"]["taken"]
    assert [one["score"] for one in found["tags"]] == sorted(
        (one["score"] for one in found["tags"]), reverse=True
    )
    assert [path.name for path in pictures.iterdir()] == ["red.png"]


def test_a_captioner_says_its_sentence(tmp_path: Path) -> None:
    folder = make_captioner(tmp_path / "blip")
    pictures = paint(tmp_path / "pictures", "red.png")
    job = caption_job(caption_weights=str(folder), max_length=12, prefix="photo of ")
    found = try_picture(job, pictures / "red.png")
    assert found["text"].startswith("photo of ")
    assert (found["tags"], found["size"]) == ([], [24, 24])


def test_the_command_writes_a_result_or_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tagger(tmp_path / "tagger")
    pictures = paint(tmp_path / "pictures", "red.png")
    (tmp_path / "job.toml").write_text(f"train_data_dir = 'nowhere'\nmodel_dir = '{folder}'\n")
    given = ["--job", "tag_images_by_wd14_tagger", "--config_file", str(tmp_path / "job.toml")]
    result = tmp_path / "result.json"
    picture = str(pictures / "red.png")
    assert main([*given, "--picture", picture, "--result", str(result)]) == 0
    assert "red_background" in json.loads(result.read_text("utf-8"))["text"]
    (folder / "model.onnx").write_bytes(b"no model")
    assert main([*given, "--picture", picture]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(b"")
    job = tag_job(model_dir=str(make_tagger(tmp_path / "tagger")))
    with pytest.raises(UserError, match="is empty"):
        try_picture(job, tmp_path / "red.png")
