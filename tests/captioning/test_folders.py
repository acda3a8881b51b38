"""What lies in folders: pictures, taggers, captioners; and what is wrong there, in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sd_scripts.captioning import tagger_folder as module
from sd_scripts.captioning.captioner_folder import captioner_folder, captioner_problems
from sd_scripts.captioning.labels import Label, find_tagger, read_tags
from sd_scripts.captioning.pictures import find_pictures
from sd_scripts.captioning.tagger_folder import missing_tagger, offline_problem, tagger_folder
from sd_scripts.errors import UserError
from sd_scripts.options.groups.captioning import CaptionerOptions, TaggerOptions
from sd_scripts.shipped import STARTER_CAPTIONER, STARTER_TAGGER
from tests.support.tiny_captioning import make_tagger, paint


def names(found: Any) -> list[str]:
    return [picture.path.name for picture in found.pictures]


def test_pictures_of_a_folder_and_of_those_inside(tmp_path: Path) -> None:
    paint(tmp_path, "red.png", "blue.png", "sub/green.png", ".hidden/red.png")
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "BLUE.TXT").write_text("x")
    (tmp_path / "red.TXT").write_text("x")
    flat = find_pictures(tmp_path, ".txt", recursive=False)
    assert names(flat) == ["blue.png", "red.png"]
    # An ending in capitals is the same caption file, another name is not.
    assert [picture.caption.name for picture in flat.pictures] == ["blue.txt", "red.TXT"]
    deep = find_pictures(tmp_path, ".txt", recursive=True)
    assert names(deep) == ["blue.png", "red.png", "green.png"]
    assert deep.folders == [tmp_path, tmp_path / "sub"]
    assert deep.problems == []


def test_two_pictures_with_one_caption_file(tmp_path: Path) -> None:
    paint(tmp_path, "red.png", "red.bmp")
    found = find_pictures(tmp_path, ".txt", recursive=False)
    assert names(found) == ["red.bmp"]
    (problem,) = found.problems
    assert "red.png would share its caption file with red.bmp" in problem.message


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_within_the_folder_only(tmp_path: Path) -> None:
    paint(tmp_path, "in/red.png", "out/blue.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "out")
    found = find_pictures(tmp_path / "in", ".txt", recursive=True)
    assert names(found) == ["red.png"]
    (problem,) = found.problems
    assert "away is a link that leads out of the folder" in problem.message


@pytest.mark.parametrize(
    ("name", "words"), [("none", "is not there"), ("file", "is a file"), ("empty", "no pictures")]
)
def test_folders_without_pictures(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (problem,) = find_pictures(tmp_path / name, ".txt", recursive=False).problems
    assert words in problem.message
    assert problem.option == "train_data_dir"
    assert problem.hint


def test_pictures_of_other_kinds_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF")
    found = find_pictures(tmp_path, ".txt", recursive=False)
    assert [problem.severity for problem in found.problems] == ["warning", "error"]


def test_a_list_of_tags_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "selected_tags.csv"
    path.write_text('category,name,count\n9,general,1\n0,"a,b",2\n4,ann,3\n3,sea,1\n', "utf-8")
    assert read_tags(path).labels == (
        Label("general", "rating"),
        Label("a,b", "general"),
        Label("ann", "character"),
        Label("sea", "copyright"),
    )


def test_a_mapping_may_have_gaps(tmp_path: Path) -> None:
    path = tmp_path / "tag_mapping.json"
    rows = {"2": {"tag": "x", "category": "Quality"}, "0": {"tag": "y", "category": "General"}}
    path.write_text(json.dumps(rows), "utf-8")
    found = read_tags(path)
    assert [label.name for label in found.labels] == ["y", None, "x"]
    assert found.has("quality")
    assert not found.has("rating")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("selected_tags.csv", ""),
        ("selected_tags.csv", "a,b\n1,2\n"),
        ("selected_tags.csv", "name,category\nx,7\n"),
        ("selected_tags.csv", "name,category\nx\n"),
        ("tag_mapping.json", "{"),
        ("tag_mapping.json", "[]"),
        ("tag_mapping.json", "{}"),
        ("tag_mapping.json", '{"0": {"tag": "x", "category": "Taste"}}'),
        ("tag_mapping.json", '{"a": {"tag": "x", "category": "General"}}'),
    ],
)
def test_a_broken_list_of_tags_is_told(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match="not a tagger's list of tags") as caught:
        read_tags(path)
    assert caught.value.problems[0].option == "model_dir"


def test_a_tagger_needs_a_model_and_a_list(tmp_path: Path) -> None:
    folder = make_tagger(tmp_path / "t")
    found = find_tagger(folder)
    assert found is not None
    assert found.model.name == "model.onnx"
    (folder / "model.onnx").rename(folder / "other.onnx")
    assert find_tagger(folder) is not None
    (folder / "selected_tags.csv").unlink()
    assert find_tagger(folder) is None
    assert find_tagger(tmp_path / "none") is None


def test_where_a_tagger_is_looked_for(tmp_path: Path) -> None:
    def folder(**values: Any) -> Path:
        return tagger_folder(TaggerOptions(**values))

    assert folder() == STARTER_TAGGER
    assert folder(model_dir="m") == Path("m")
    assert folder(repo_id="a/b") == Path("wd14_tagger_model/a_b")
    assert folder(repo_id="a/b/c", model_dir="m") == Path("m/a_b/c")
    # A folder that is itself a tagger is meant itself.
    own = make_tagger(tmp_path / "own")
    assert folder(repo_id="a/b", model_dir=str(own)) == own


def test_a_missing_tagger_says_what_is_needed_and_names_the_one_that_comes_along() -> None:
    for values in ({"model_dir": "nowhere"}, {"repo_id": "a/b"}):
        options = TaggerOptions.model_validate(values)
        problem = missing_tagger(tagger_folder(options), options)
        text = str(problem)
        assert "model.onnx with selected_tags.csv" in text
        assert str(STARTER_TAGGER) in text
    options = TaggerOptions()
    assert "comes with this program" in missing_tagger(tagger_folder(options), options).message


def test_nothing_is_downloaded_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TaggerOptions(repo_id="a/b", force_download=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    problem = offline_problem(options)
    assert problem is not None
    assert problem.option == "force_download"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name)
    assert offline_problem(options) is None


def test_what_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    files = ["cl/model_optimized.onnx", "cl/model_optimized.onnx.data", "cl/tag_mapping.json", "x"]
    fetched = []

    def fetch(repo: str, file: str, *, local_dir: Path, force_download: bool) -> None:
        assert force_download
        fetched.append((repo, file, local_dir))

    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda repo: files)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    options = TaggerOptions(repo_id="a/b/cl", model_dir=str(tmp_path), force_download=True)
    module.download(options)
    assert fetched == [("a/b", file, tmp_path / "a_b") for file in files[:3]]
    with pytest.raises(UserError, match="is no tagger"):
        module.download(TaggerOptions(repo_id="a/b", force_download=True))
    monkeypatch.setattr(huggingface_hub, "list_repo_files", _unreachable)
    with pytest.raises(UserError, match="could not be downloaded: no route"):
        module.download(options)


def _unreachable(repo: str) -> list[str]:
    raise ConnectionError("no route to the hub")


def captioner_at(folder: Path, config: object = None, *files: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
    for name in files:
        (folder / name).write_text("x", "utf-8")
    options = CaptionerOptions(caption_weights=str(folder))
    return [problem.message for problem in captioner_problems(options)]


ALL = ("model.safetensors", "preprocessor_config.json", "tokenizer.json")


def test_a_captioner_is_checked_by_its_small_files(tmp_path: Path) -> None:
    assert len(captioner_at(tmp_path / "a")) == 4
    assert captioner_at(tmp_path / "b", {"model_type": "blip"}, *ALL) == []
    (told,) = captioner_at(tmp_path / "c", {"model_type": "llama"}, *ALL)
    assert "kind llama" in told
    (told,) = captioner_at(tmp_path / "d", {}, *ALL)
    assert "cannot be understood" in told
    (tmp_path / "d" / "config.json").write_text("[" * 100_000)
    (told,) = captioner_at(tmp_path / "d")
    assert "cannot be understood" in told
    (told,) = captioner_at(tmp_path / "e", {"model_type": "git"}, *ALL[:2])
    assert "the tokenizer is missing" in told


@pytest.mark.parametrize(
    ("kind", "prompt", "problems"),
    [
        ("git", "what is it?", 1),
        ("florence2", "what is it?", 1),
        ("florence2", "<DETAILED_CAPTION>", 0),
        ("blip", "a photo of", 0),
        ("qwen2_vl", "what is it?", 0),
    ],
)
def test_what_a_captioner_can_be_asked(
    tmp_path: Path, kind: str, prompt: str, problems: int
) -> None:
    captioner_at(tmp_path / "m", {"model_type": kind}, *ALL)
    options = CaptionerOptions(caption_weights=str(tmp_path / "m"), caption_prompt=prompt)
    assert len(captioner_problems(options)) == problems


def test_a_missing_captioner_names_the_one_that_comes_along(tmp_path: Path) -> None:
    assert captioner_folder(CaptionerOptions()) == STARTER_CAPTIONER
    file = tmp_path / "model_large_caption.pth"
    file.write_bytes(b"x")
    for path in (file, tmp_path / "none"):
        (problem,) = captioner_problems(CaptionerOptions(caption_weights=str(path)))
        assert "transformers' layout" in problem.message
        assert str(STARTER_CAPTIONER) in str(problem)
