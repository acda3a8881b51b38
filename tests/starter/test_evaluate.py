"""The evaluation: which parts, what it reads from captions, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.starter.support import scene_of
from tools.starter import evaluate
from tools.starter.evaluate import Plan, fresh, main, seen_right, understood
from tools.starter.generate import Way
from tools.starter.judge_model import Verdict
from tools.starter.measures import Figure
from tools.starter.scenes import SUBJECTS


def set_parts(monkeypatch: pytest.MonkeyPatch, *figures: Figure) -> list[str]:
    """Let each figure's part measure just that figure; return the parts that were asked."""
    asked: list[str] = []

    def measure(figure: Figure) -> Sequence[Figure]:
        asked.append(figure.part)
        return [figure]

    parts = {figure.part: lambda plan, figure=figure: measure(figure) for figure in figures}
    monkeypatch.setattr(evaluate, "PARTS", parts)
    return asked


@pytest.mark.parametrize(("value", "code"), [(80.0, 0), (79.9, 1)])
def test_a_missed_bar_is_told_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float, code: int
) -> None:
    """A line a bar."""
    monkeypatch.setattr(evaluate, "NEEDED", {})
    asked = set_parts(monkeypatch, Figure("base", "size right", value, 80), Figure("x", "y", 1.0))
    assert main(["--only", "base"]) == code
    assert asked == ["base"]
    told = capsys.readouterr().out
    assert ("MISSED: at least 80.0 %" in told) is (code == 1)
    assert "ddim, 30 steps, guidance 4" in told


def test_the_table_is_written_between_the_markers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With all parts only; else a half table would stand for the whole."""
    monkeypatch.setattr(evaluate, "NEEDED", {})
    set_parts(monkeypatch, Figure("judge", "size right", 99.0, 98), Figure("x", "y", 1.0))
    readme = tmp_path / "README.md"
    readme.write_text("# It\n<!-- evaluation: begin -->\n<!-- evaluation: end -->\n")
    assert main(["--only", "judge,x", "--write", str(readme)]) == 0
    assert "| judge | size right | 99.0 % | ≥ 98.0 % |" in readme.read_text()
    with pytest.raises(SystemExit):
        main(["--only", "judge", "--write", str(readme)])


def test_a_readme_without_markers_is_a_mistake_that_can_be_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is left as it was."""
    set_parts(monkeypatch, Figure("x", "y", 1.0))
    readme = tmp_path / "README.md"
    readme.write_text("# It\n")
    assert main(["--only", "x", "--write", str(readme)]) == 2
    assert "evaluation: begin" in capsys.readouterr().err
    assert readme.read_text() == "# It\n"
    assert main(["--only", "x", "--write", str(tmp_path / "none.md")]) == 2


def test_unknown_parts_and_missing_starters_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what there is to choose from."""
    with pytest.raises(SystemExit):
        main(["--only", "judge,vea"])
    assert "vae" in capsys.readouterr().err
    assert main(["--starter", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    for name in ("judge/", "model/", "tagger/", "captioner/"):
        assert name in told, "all that is missing is told at once"
    assert evaluate.NEEDED.keys() == evaluate.PARTS.keys()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a small apple on a blue background", ("small", "apple", "blue")),
        ("a large animal on an orange background", ("large", "animal", "orange")),
        ("a large on a blue background", None),
        ("a small apple on a blue background apple", None),
        ("an apple on a blue background", None),
        ("a small apple on a turquoise background", None),
    ],
)
def test_only_whole_plain_captions_are_understood(
    caption: str, expected: tuple[str, str, str] | None
) -> None:
    """Anything else counts as wrong."""
    assert understood(caption) == expected


def test_the_judges_answers_are_compared_by_attribute() -> None:
    """None is no subject, and never right."""
    scene = scene_of(0, colour="blue", size="large")
    right = Verdict(scene.subject.word, 1.0, "blue", 1.0, "large", 1.0)
    wrong = Verdict(None, 1.0, "red", 1.0, "small", 1.0)
    assert seen_right([right, wrong], [scene, scene]) == {
        "subject": [True, False],
        "background": [True, False],
        "size": [True, False],
    }


def test_fresh_scenes_are_the_same_each_time_and_even() -> None:
    """Every subject as often as the others."""
    scenes = fresh("it", 2 * len(SUBJECTS))
    assert scenes == fresh("it", 2 * len(SUBJECTS))
    assert scenes != fresh("other", 2 * len(SUBJECTS))
    assert [scene.subject for scene in scenes] == [*SUBJECTS, *SUBJECTS]


def test_a_plan_says_how_pictures_are_made() -> None:
    """In the heading of the table."""
    plan = Plan(Path("x"), 20, Way(steps=5, guidance=1.5, sampler="euler"))
    assert "seeds 0 to 19, euler, 5 steps, guidance 1.5." in evaluate.heading(plan)
