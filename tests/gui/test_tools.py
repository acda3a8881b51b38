"""The tools page: sizes are told, only what can be made again is cleared, nothing outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.jobs import storage
from kohya_gui.pages.tools import ToolActions, versions
from tests.support.pages import make_run


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "caches"
    (folder / "latents").mkdir(parents=True)
    (folder / "latents" / "one").write_bytes(b"12345")
    monkeypatch.setattr(storage, "cache_folder", lambda: folder)
    return folder


def test_folders_are_told_with_their_sizes(context: Context) -> None:
    rows = {row["name"]: row for row in ToolActions(context).storage()["places"]}
    assert (rows["caches"]["bytes"], rows["caches"]["files"]) == (5, 1)
    assert rows["caches"]["clearable"]
    assert not rows["runs"]["clearable"]
    assert rows["configs"]["files"] == 0


def test_caches_are_cleared_and_links_lead_nowhere(
    context: Context, caches: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "picture.png").write_bytes(b"x")
    (caches / "link").symlink_to(mine)
    assert ToolActions(context).clear_place({"name": "caches"})["bytes"] > 0
    assert list(caches.iterdir()) == []
    assert (mine / "picture.png").exists()


@pytest.mark.parametrize("name", ["runs", "drafts", "configs", "..", "", None])
def test_nothing_else_is_cleared(context: Context, name: str | None) -> None:
    run = make_run(context.workspace.path, "over", alive=False)
    assert "problem" in ToolActions(context).clear_place({"name": name})
    assert run.events.exists()


def test_caches_stay_while_a_run_reads_them(context: Context, caches: Path) -> None:
    make_run(context.workspace.path, "busy")
    assert "busy" in ToolActions(context).clear_place({"name": "caches"})["problem"]
    assert (caches / "latents" / "one").exists()


def test_versions_are_told() -> None:
    assert {"gradio", "torch"} <= {row["name"] for row in versions()}
