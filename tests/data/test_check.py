"""Pictures are decoded once before a job without cached latents."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts.data import check
from sd_scripts.data.check import check_pictures
from sd_scripts.data.long_work import Hooks, Outcome
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.dataset.pictures import open_rgb
from tests.data.helpers import ENCODE, QUIET, make_folder, make_plan, picture
from tests.data.test_latent_cache import break_inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "größe", [(128, 128)] * 20)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def counting(path: Path) -> object:
        seen.append(path.name)
        return open_rgb(path)

    monkeypatch.setattr(check, "open_rgb", counting)
    return seen


def run(folder: Path, hooks: Hooks = QUIET) -> Outcome:
    cache = folder.parent / "cache"
    return check_pictures(folder.glob("*.png"), PictureIndex(cache), cache, ENCODE, hooks)


def test_every_picture_is_decoded_once_and_never_again(folder: Path, decoded: list[str]) -> None:
    assert run(folder) == Outcome("complete", 20)
    assert len(set(decoded)) == len(decoded) == 20
    picture(64, 64, seed=77).save(folder / "003.png")
    decoded.clear()
    assert run(folder).state == "complete"
    assert decoded == ["003.png"]


def test_broken_pictures_leave_the_next_plan(folder: Path) -> None:
    break_inside(folder / "004.png")
    cache = folder.parent / "cache"
    assert len(make_plan(folder, cache).samples) == 20
    outcome = run(folder)
    assert outcome.state == "broken"
    assert [problem.path.name for problem in outcome.broken] == ["004.png"]
    plan = make_plan(folder, cache)
    assert len(plan.samples) == 19
    assert [skipped.path.name for skipped in plan.skipped] == ["004.png"]
    again = check_pictures(
        [sample.path for sample in plan.samples], PictureIndex(cache), cache, ENCODE, QUIET
    )
    assert again == Outcome("complete", 0)


def test_stopping_keeps_what_is_known(folder: Path, decoded: list[str]) -> None:
    outcome = run(folder, Hooks(should_stop=lambda: len(decoded) >= 8))
    assert outcome.state == "stopped"
    assert outcome.num_done == 8
    decoded.clear()
    assert run(folder).state == "complete"
    assert len(decoded) == 12
