"""Settings: kept whole, mended where damaged, and nothing of a newer version lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_gui import workspace as workspace_module
from kohya_gui.settings import Settings, load_settings, save_settings
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import UserError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "work")


def test_a_new_workspace_has_the_defaults(workspace: Workspace) -> None:
    assert load_settings(workspace) == (Settings(), ())


def test_settings_come_back(workspace: Workspace) -> None:
    settings = Settings(
        language="de",
        theme="dark",
        roots=("/mnt/Bilder ü",),
        allow_hub=True,
        page_defaults={"train_network": {"network_dim": 0, "seed": None, "betas": [0.9, 0.99]}},
    )
    save_settings(workspace, settings)
    assert load_settings(workspace) == (settings, ())
    assert "Bilder ü" in workspace.settings.read_text("utf-8")


def test_what_a_newer_version_added_stays(workspace: Workspace) -> None:
    workspace.settings.write_text('{"theme": "light", "moon": {"phase": 3}}')
    settings, notes = load_settings(workspace)
    assert notes == ()
    save_settings(workspace, settings.model_copy(update={"theme": "dark"}))
    data = json.loads(workspace.settings.read_text())
    assert (data["theme"], data["moon"]) == ("dark", {"phase": 3})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_put_aside(workspace: Workspace, content: bytes) -> None:
    workspace.settings.write_bytes(content)
    settings, notes = load_settings(workspace)
    assert settings == Settings()
    [note] = notes
    [aside] = workspace.path.glob("settings.damaged-*.json")
    assert aside.name in note
    assert aside.read_bytes() == content


def test_one_impossible_value_does_not_cost_the_others(workspace: Workspace) -> None:
    workspace.settings.write_text('{"theme": "purple", "roots": 5, "language": "de"}')
    settings, [note] = load_settings(workspace)
    assert settings == Settings(language="de")
    assert "roots, theme" in note
    assert list(workspace.path.glob("settings.damaged-*.json"))


def test_settings_that_cannot_be_read_are_told(workspace: Workspace) -> None:
    workspace.settings.mkdir()
    settings, [note] = load_settings(workspace)
    assert settings == Settings()
    assert "could not be read" in note


def test_a_workspace_is_made_whole(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "a" / "wörk space")
    assert workspace.runs.is_dir()
    assert workspace.queue.is_dir()
    assert workspace.drafts.is_dir()
    assert workspace.trash.is_relative_to(workspace.path)
    left = {path.name for path in workspace.path.iterdir()}
    assert left == {"runs", "queue", "drafts"}


def test_the_default_is_outside_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workspace_module.platformdirs, "user_data_path", lambda name, **_: tmp_path / name
    )
    assert open_workspace().path == tmp_path / "kohya_gui"


def test_a_place_that_cannot_be_a_workspace_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        open_workspace(tmp_path / "file" / "work")
    [problem] = caught.value.problems
    assert problem.option == "workspace"
    assert problem.hint is not None
    assert "--workspace" in problem.hint


def test_a_read_only_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(workspace_module.Path, "touch", refuse)
    with pytest.raises(UserError, match="Read-only file system"):
        open_workspace(tmp_path / "work")
