"""A folder that becomes read-only, an odd path, two programs: what is shown then is true."""

from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kohya_gui.context import Context
from kohya_gui.pages.history_actions import HistoryActions
from kohya_gui.pages.run_actions import RunActions
from kohya_gui.rest.routes import PREFIX
from sd_scripts.runs.folder import RunFolder
from tests.gui.test_server import Served
from tests.support.pages import add_sample, add_steps, make_run


def make_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the calls of the system refuse every change to a folder, as on a drive that is read-only.

    Rights would not do: the administrator may write whatever they say.
    """

    def is_below(*places: object) -> bool:
        names = [os.fspath(one) for one in places if isinstance(one, str | os.PathLike)]
        return any(Path(os.path.abspath(name)).is_relative_to(folder) for name in names)

    def refuse(name: str) -> None:
        plain = getattr(os, name)

        def change(*places: Any, **more: Any) -> Any:
            if is_below(*places):
                raise OSError(errno.EROFS, "Read-only file system", str(places[0]))
            return plain(*places, **more)

        monkeypatch.setattr(os, name, change)

    for name in ("mkdir", "unlink", "rename", "replace", "rmdir", "remove", "utime", "link"):
        refuse(name)
    plain_open, plain_os_open = builtins.open, os.open

    def open_file(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if is_below(file) and set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "Read-only file system", str(file))
        return plain_open(file, mode, *rest, **more)

    def open_handle(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if is_below(path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return plain_os_open(path, flags, *rest, **more)

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", open_file)
    monkeypatch.setattr(os, "open", open_handle)


def test_a_run_folder_that_is_read_only_is_shown_and_what_cannot_be_done_is_told(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions, history = RunActions(context), HistoryActions(context)
    run = make_run(context.workspace.path, "mycat")
    over = make_run(context.workspace.path, "old", alive=False)
    before = set(over.path.rglob("*"))
    with monkeypatch.context() as drive:
        for one in (run, over):
            make_read_only(one.path, drive)
        assert actions.look_run({"run": run.id})["state"] == "running"
        assert actions.look_run({"run": over.id})["state"] == "lost"
        told = [
            actions.ask_run({"run": run.id, "what": "stop"})["problem"],
            history.write_note({"run": over.id, "note": "x", "version": 0})["problem"],
        ]
        for words in told:
            assert words
            assert "Traceback" not in words
        history.delete_runs({"runs": [over.id]})
        assert set(over.path.rglob("*")) == before
        assert actions.look_run({"run": over.id})["state"] == "lost"
    add_steps(run, 31, 40)
    assert actions.look_run({"run": run.id})["state"] == "running"
    assert "problem" not in actions.ask_run({"run": run.id, "what": "stop"})


def test_a_workspace_with_blank_umlaut_quotes_and_percent_serves_its_files(tmp_path: Path) -> None:
    folder = tmp_path / 'Meine Bilder\' "ü" 100% #1 & 猫'
    folder.mkdir()
    page = Served(folder, [])
    try:
        run = make_run(page.context.workspace.path, 'm\'y "cat" ü', alive=False)
        sample = add_sample(run, 3, 0, "a cat")
        with page.client() as client:
            assert client.get("/lora").status_code == 200
            file = f"/gradio_api/file={quote(str(sample))}"
            assert client.get(file).content == sample.read_bytes()
            listed = client.get(f"{PREFIX}/runs").json()["runs"]
            assert run.id in [one["run"] for one in listed]
            told = client.get(f"{PREFIX}/runs/{run.id}/samples").json()["samples"]
            got = client.get(f"{PREFIX}/runs/{run.id}/files/{quote(told[0]['file'])}")
            assert got.content == sample.read_bytes()
    finally:
        page.close()


def test_two_programs_on_one_workspace_see_the_same(tmp_path: Path) -> None:
    first = Served(tmp_path, [])
    (tmp_path / "work" / "runs" / "mycat" / "samples" / "a.txt").unlink()
    (tmp_path / "work" / "runs" / "mycat" / "samples").rmdir()
    (tmp_path / "work" / "runs" / "mycat").rmdir()
    second = Served(tmp_path, [])
    try:
        run: RunFolder = make_run(first.context.workspace.path, "busy")
        with first.client() as one, second.client() as other:
            assert one.post(f"{PREFIX}/queue/pause").json()["paused"]
            assert other.get(f"{PREFIX}/queue").json()["paused"]
            for client in (one, other):
                assert client.get(f"{PREFIX}/runs/{run.id}").json()["state"] == "running"
            assert other.post(f"{PREFIX}/runs/{run.id}/stop").status_code == 202
            assert one.get(f"{PREFIX}/runs/{run.id}").json()["state"] == "stopping"
    finally:
        first.close()
        second.close()
