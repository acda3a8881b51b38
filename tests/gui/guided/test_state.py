"""What is kept: projects with their revisions, uploaded pictures, results that were picked."""

from __future__ import annotations

import base64
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kohya_gui.context import Context
from kohya_gui.guided import uploads
from kohya_gui.guided.outcome import Checkpoint, advice_on, checkpoints_of, keep_result
from kohya_gui.guided.project import ChangedError, Projects
from kohya_gui.guided.uploads import Piece, take_piece, upload_folder
from kohya_gui.jobs.lock import file_lock
from kohya_gui.jobs.series import Curve
from sd_scripts.errors import UserError
from sd_scripts.runs.events import SaveEvent
from sd_scripts.runs.folder import RunFolder


def test_answers_are_kept_and_the_last_writer_is_told(context: Context) -> None:
    projects = Projects(context.workspace)
    first = projects.new(goal="style")
    second = projects.change(first.id, {"trigger": "zwx"}, first.revision)
    assert Projects(context.workspace).load(first.id) == second
    with pytest.raises(ChangedError) as caught:
        projects.change(first.id, {"trigger": "other"}, first.revision)
    assert caught.value.latest == second
    assert projects.change(first.id, {"trigger": "zwx"}, second.revision) == second
    assert [one.id for one in projects.list()] == [first.id]
    projects.forget(first.id)
    assert projects.list() == []


@pytest.mark.parametrize("values", [{"goal": "world peace"}, {"length": 99}, {"name": "x" * 300}])
def test_answers_that_cannot_be_are_refused(context: Context, values: dict[str, object]) -> None:
    projects = Projects(context.workspace)
    project = projects.new()
    with pytest.raises(UserError):
        projects.change(project.id, values)
    assert projects.load(project.id) == project


def test_a_project_that_is_forgotten_does_not_come_back(context: Context) -> None:
    projects = Projects(context.workspace)
    one = projects.new()
    with ThreadPoolExecutor(1) as pool:
        with file_lock(context.workspace.path / "teach" / "lock"):  # a change goes on
            forgetting = pool.submit(projects.forget, one.id)
            assert projects.load(one.id) == one
            projects._write(one)
        forgetting.result(60)
    assert projects.load(one.id) is None
    projects.forget(one.id)  # a second time changes nothing


@pytest.mark.parametrize("name", ["", "..", "../../settings", "0" * 15, "0" * 16])
def test_no_name_leads_to_another_file(context: Context, name: str) -> None:
    assert Projects(context.workspace).load(name) is None


def piece(name: str, data: bytes, offset: int = 0, total: int | None = None) -> Piece:
    text = base64.b64encode(data).decode("ascii")
    return Piece(name, offset, len(data) if total is None else total, text)


def test_a_file_arrives_in_pieces(context: Context) -> None:
    folder = upload_folder(context.workspace, "0" * 16, "my cat")
    assert take_piece(folder, piece("a.png", b"abc", 0, 6)) is None
    assert list(folder.glob("*.png")) == []
    assert take_piece(folder, piece("a.png", b"def", 3, 6)) == folder / "a.png"
    assert (folder / "a.png").read_bytes() == b"abcdef"


def test_what_is_there_is_never_overwritten(context: Context) -> None:
    folder = upload_folder(context.workspace, "0" * 16, "my cat")
    take_piece(folder, piece("a.png", b"one"))
    assert take_piece(folder, piece("a.png", b"one")) == folder / "a.png"
    assert take_piece(folder, piece("a.png", b"two")) == folder / "a-2.png"
    assert (folder / "a.png").read_bytes() == b"one"
    assert sorted(path.name for path in folder.iterdir()) == ["a-2.png", "a.png"]


def test_two_tabs_that_send_the_same_name_are_kept_apart(context: Context) -> None:
    folder = upload_folder(context.workspace, "0" * 16, "my cat")
    mine, theirs = (
        [replace(piece("a.png", data, at, 6), drop=who) for data, at in ((one, 0), (two, 3))]
        for who, one, two in (("mine", b"abc", b"def"), ("theirs", b"uvw", b"xyz"))
    )
    for one in (mine[0], theirs[0], theirs[1], mine[1]):
        take_piece(folder, one)
    assert (folder / "a.png").read_bytes() == b"uvwxyz"
    assert (folder / "a-2.png").read_bytes() == b"abcdef"
    assert sorted(path.name for path in folder.iterdir()) == ["a-2.png", "a.png"]


def test_no_more_files_are_begun_than_may_come(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    folder = upload_folder(context.workspace, "0" * 16, "my cat")
    for number in range(3):
        assert take_piece(folder, piece(f"{number}.png", b"x", 0, 2)) is None
    with pytest.raises(UserError, match="More than 3 files"):
        take_piece(folder, piece("3.png", b"x", 0, 2))
    os.utime(folder / ".0.png.0.part", (0, 0))  # left behind long ago
    assert take_piece(folder, piece("3.png", b"x", 0, 2)) is None


def test_a_file_for_which_there_is_no_room_is_refused_at_once(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = upload_folder(context.workspace, "0" * 16, "my cat")
    usage = SimpleNamespace(free=uploads.RESERVE_BYTES + 5)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        take_piece(folder, piece("a.png", b"abc", 0, 6))
    assert list(folder.iterdir()) == []
    assert take_piece(folder, piece("a.png", b"abcde")) == folder / "a.png"


@pytest.mark.parametrize(
    "wrong",
    [
        piece("a.exe", b"x"),
        piece("", b"x"),
        Piece("a.png", 0, 3, "not base64!"),
        Piece("a.png", 5, 3, ""),
        piece("a.png", b"x", 0, 2**40),
        piece("a.png", b"x" * 2**20),
    ],
    ids=["ending", "no name", "damaged", "beyond", "huge", "huge piece"],
)
def test_what_is_no_picture_of_ours_is_refused(context: Context, wrong: Piece) -> None:
    folder = upload_folder(context.workspace, "0" * 16, "my cat")
    with pytest.raises(UserError):
        take_piece(folder, wrong)
    assert list(folder.glob("[!.]*")) == []


@pytest.mark.parametrize(
    "name", ["../../out.png", "..\\..\\out.png", "/etc/out.png", "C:\\out.png"]
)
def test_no_name_leads_out_of_the_folder(context: Context, name: str) -> None:
    folder = upload_folder(context.workspace, "0" * 16, "../my cat")
    assert take_piece(folder, piece(name, b"x")) == folder / "out.png"
    assert folder.parent == context.workspace.path / "pictures"


def saved(run: RunFolder, step: int, name: str) -> SaveEvent:
    (run.path / name).write_bytes(name.encode())
    return SaveEvent(path=name, step=step)


def test_checkpoints_are_the_weights_that_are_still_there(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    saves = [
        saved(run, 10, "a.safetensors"),
        saved(run, 20, "b.safetensors"),
        saved(run, 20, "cat.safetensors"),
        SaveEvent(path="gone.safetensors", step=30),
        SaveEvent(path="a.safetensors", step=40, kind="state"),
    ]
    found = checkpoints_of(run, saves, Curve((10, 20), (0.5, 0.4)))
    assert [(one.step, one.path.name, one.loss) for one in found] == [
        (10, "a.safetensors", 0.5),
        (20, "cat.safetensors", 0.4),
    ]


@pytest.mark.parametrize(
    ("losses", "step", "reason"),
    [
        ((None, None, None), 3, "eye"),
        ((0.5, 0.4, 0.45), 2, "lowest"),
        ((0.5, 0.4, 0.3), 3, "end"),
        ((0.5, 0.4001, 0.4), 2, "lowest"),
    ],
)
def test_advice_follows_what_was_held_out(
    losses: tuple[float | None, ...], step: int, reason: str
) -> None:
    found = advice_on([Checkpoint(n, Path("x"), loss) for n, loss in enumerate(losses, 1)])
    assert found is not None
    assert (found.step, found.reason) == (step, reason)
    assert advice_on([]) is None


def test_a_picked_result_is_copied_and_replaces_nothing(context: Context, tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    kept = keep_result(context.workspace, first, "cat")
    assert kept.name == "cat.safetensors"
    assert keep_result(context.workspace, first, "cat") == kept
    assert keep_result(context.workspace, second, "cat").name == "cat-2.safetensors"
    assert kept.read_bytes() == b"one"
