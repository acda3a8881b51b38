"""Prompt files: the line syntax, TOML, JSON, and every way to write them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.train.prompts import PreviewPrompt, parse_line, read_prompts, resolved


def test_line_with_every_flag() -> None:
    line = "a cat, --- big --n bad art --w 515 --h 768 --d 7 --s 20 --l 5.5 --ss Euler_A"
    prompt, wrong = parse_line(line)
    assert wrong == []
    assert prompt == PreviewPrompt("a cat, --- big", "bad art", 512, 768, 20, 5.5, 7, "euler_a")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("a --w wide", "--w wide"),
        ("a --s 0", "1 to 1000"),
        ("a --s 1001", "1 to 1000"),
        ("a --ss nonsense", "euler_a"),
        ("a --x 3", "not a known flag"),
        ("a --cn picture.png", "ControlNet"),
        ("a --d -1", "0 to"),
        ("a --w 8", "64 to"),
    ],
)
def test_broken_line_is_told(line: str, part: str) -> None:
    prompt, wrong = parse_line(line)
    assert prompt is None
    assert part in " ".join(wrong)


def test_every_broken_line_of_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# comment\n\na cat --s 5\na dog --s none\nbird --q 1\n", encoding="utf-8")
    prompts, problems = read_prompts(path)
    assert [prompt.prompt for prompt in prompts] == ["a cat"]
    assert len(problems) == 2
    assert "line 4" in problems[0].message
    assert "line 5" in problems[1].message
    assert all(problem.option == "sample_prompts" for problem in problems)


def test_toml_and_json(tmp_path: Path) -> None:
    toml = tmp_path / "p.toml"
    toml.write_text(
        "[prompt]\nwidth = 256\nheight = 320\nscale = 3\n"
        '[[prompt.subset]]\nprompt = "ä"\nseed = 0\n'
        '[[prompt.subset]]\nprompt = "b"\nheight = 64\n',
        encoding="utf-8",
    )
    prompts, problems = read_prompts(toml)
    assert problems == []
    assert prompts[0] == PreviewPrompt("ä", width=256, height=320, scale=3.0, seed=0)
    assert prompts[1].height == 64
    as_json = tmp_path / "p.json"
    as_json.write_text(json.dumps(["a --s 3", {"prompt": "b", "sample_steps": 4}, 5, {"x": 1}]))
    prompts, problems = read_prompts(as_json)
    assert [p.sample_steps for p in prompts] == [3, 4]
    assert len(problems) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.toml", b"[prompt\n"),
        ("p.json", b"{"),
        ("p.txt", b"\xff\xfe\x00"),
        ("p.txt", b"# only\n"),
    ],
)
def test_unreadable_files_are_problems(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    prompts, problems = read_prompts(path)
    assert prompts == []
    assert len(problems) == 1
    assert problems[0].hint


def test_missing_file(tmp_path: Path) -> None:
    assert len(read_prompts(tmp_path / "none.txt")[1]) == 1


def test_resolved_fills_only_what_is_open() -> None:
    prompt = resolved(PreviewPrompt("a", width=64), size=(512, 768), sampler="ddim")
    assert (prompt.width, prompt.height, prompt.sample_sampler) == (64, 768, "ddim")


def test_null_in_json_means_the_default(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('[{"prompt": "a cat", "negative_prompt": null, "seed": null}]')
    assert read_prompts(path) == ([PreviewPrompt("a cat")], [])
