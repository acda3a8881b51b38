"""Folders that take the place of others: whatever kills the process, one of the two is found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sd_scripts import files
from sd_scripts.files import atomic_folder, put_back, standing_in, stands_in


class Killed(BaseException):
    """As SIGKILL: nothing after it runs. Clean-up is switched off with it."""


def write(folder: Path, text: str) -> None:
    with atomic_folder(folder) as place:
        (place / "a").write_text(text)
        (place / "b").write_text(text)


def content(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in ("a", "b")]


def killing_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the process die before the change of the file system of that number (from 0)."""
    left = [number]

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def before(*args: Any, **options: Any) -> Any:
            if left[0] < 0:
                return None  # it is dead: nothing is changed any more
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return act(*args, **options)

        return before

    for owner, name in ((os, "replace"), (os, "fsync"), (shutil, "rmtree"), (Path, "mkdir")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


# mkdir, two fsyncs, three renames, the parent folder's fsync, two removals; then none is left
@pytest.mark.parametrize("number", range(10))
def test_a_killed_process_loses_neither_folder(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "x-state"
    write(folder, "old")
    with pytest.MonkeyPatch.context() as patch:
        killing_at(patch, number)
        try:
            write(folder, "new")
            assert number == 9
        except Killed:
            assert number < 9
    found = folder if folder.exists() else standing_in(folder)
    assert found is not None
    expected = ["old" if number < 5 else "new"] * 2
    assert content(found) == expected
    assert (standing_in(folder) is None) == folder.exists()
    put_back(folder)
    assert content(folder) == expected
    write(folder, "newer")
    assert content(folder) == ["newer"] * 2
    rest = [path for path in tmp_path.iterdir() if path != folder]
    assert all(path.name.endswith(".part") for path in rest)  # young: perhaps being written now


def test_only_whole_folders_stand_in_and_only_for_their_own_name(tmp_path: Path) -> None:
    for name in (".x-state.0123456789ab.part", ".x-state.0123456789ab.old", ".y.0123456789ab.new"):
        (tmp_path / name).mkdir()
    assert standing_in(tmp_path / "x-state") is None
    assert standing_in(tmp_path / "nowhere" / "x") is None
    assert stands_in(tmp_path / ".y.0123456789ab.new")
    assert not stands_in(tmp_path / ".x-state.0123456789ab.old")
    (tmp_path / "y").mkdir()
    assert not stands_in(tmp_path / ".y.0123456789ab.new")


def test_what_was_left_unfinished_goes_when_it_is_old(tmp_path: Path) -> None:
    left = [tmp_path / f".x.0123456789a{number}.part" for number in range(2)]
    for path in left:
        path.mkdir()
    os.utime(left[0], (1, 1))
    write(tmp_path / "x", "new")
    assert [path.exists() for path in left] == [False, True]


@pytest.mark.parametrize("failing", ["old", "x"])
def test_a_rename_that_is_refused_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """As Windows does where another program has a file of the folder open."""
    folder = tmp_path / "x"
    write(folder, "old")
    real = os.replace

    def refusing(source: Path, target: Path) -> None:
        if target.name.endswith(failing) and source.name.endswith((".new", "x")):
            monkeypatch.setattr(files.os, "replace", real)
            raise PermissionError(13, "in use")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", refusing)
    with pytest.raises(PermissionError):
        write(folder, "new")
    assert content(folder) == ["old"] * 2
    assert list(tmp_path.iterdir()) == [folder]


def test_names_as_long_as_a_file_system_allows(tmp_path: Path) -> None:
    folders = [tmp_path / (letter + "x" * 250) for letter in "ab"]
    for folder in folders:
        write(folder, "old")
        write(folder, "new")
    assert sorted(tmp_path.iterdir()) == folders
