"""The file chooser's listing: inside the declared folders only, with words instead of errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.context import Context
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.settings import keep_settings
from kohya_gui.settings import load_settings

Lister = Callable[[object], dict[str, Any]]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "1.png").write_bytes(b"")
    (folder / "model.safetensors").write_bytes(b"123")
    return folder


@pytest.fixture
def lister(context: Context, files: Path) -> Lister:
    assert "kg-good" in keep(context, roots=[str(files)])
    return folder_lister(context)


def keep(context: Context, **changes: object) -> str:
    values: dict[str, Any] = {
        "tier": "basic",
        "language": "en",
        "roots": [],
        "when_busy": "queue",
        "allow_hub": False,
    }
    return keep_settings(context, {**values, **changes}).markup


def test_looking_begins_in_the_first_declared_folder(lister: Lister, files: Path) -> None:
    found = lister({"folder": "", "wants": "file"})
    assert found["folder"] == str(files)
    assert found["parent"] is None
    assert [entry["name"] for entry in found["entries"]] == ["cats", "model.safetensors"]
    assert found["entries"][0]["note"] == "1 picture"
    assert found["note"] == "1 model file"


def test_a_file_that_is_chosen_already_is_shown_in_its_folder(lister: Lister, files: Path) -> None:
    model = str(files / "model.safetensors")
    found = lister({"folder": model})
    assert (found["folder"], found["chosen"]) == (str(files), model)


def test_a_path_that_is_not_there_leads_to_the_nearest_folder(lister: Lister, files: Path) -> None:
    assert lister({"folder": str(files / "cats" / "new" / "deeper")})["folder"] == str(
        files / "cats"
    )


@pytest.mark.parametrize("outside", ["/", "/etc", "/etc/passwd", "..", "~nobody-here"])
def test_nothing_outside_is_listed(lister: Lister, files: Path, outside: str) -> None:
    found = lister({"folder": outside})
    assert "passwd" not in str(found["entries"])
    if outside.startswith("/"):
        assert found["problem"]["hint"]
        assert found["folder"] == str(files)


@pytest.mark.parametrize("wish", [None, 3, {}, {"folder": None}])
def test_an_unfit_request_begins_at_the_start(lister: Lister, files: Path, wish: object) -> None:
    assert lister(wish)["folder"] == str(files)


def test_without_a_setting_the_users_own_folder_is_open(context: Context) -> None:
    assert context.browser().roots == (Path.home(), context.workspace.path)


def test_settings_are_kept_and_others_stay(context: Context, files: Path) -> None:
    keep(context, tier="expert", when_busy="refuse", roots=[str(files)])
    found, notes = load_settings(context.workspace)
    assert (found.tier, found.when_busy, found.roots) == ("expert", "refuse", (str(files),))
    assert notes == ()


def test_a_root_that_is_no_folder_is_refused(context: Context, files: Path) -> None:
    said = keep(context, roots=[str(files / "model.safetensors")])
    assert "kg-bad" in said
    assert "model.safetensors" in said
    assert context.settings().roots == ()


def test_what_is_said_is_escaped(context: Context) -> None:
    assert "<script>" not in keep(context, roots=["<script>alert(1)</script>"])
