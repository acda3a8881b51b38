"""The list of runs: found after a restart, quick when long, closed to paths that lead out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kohya_gui.jobs.store as store_module
from kohya_gui.jobs.launch import start_request
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import own_identity
from sd_scripts.runs.record import RunRecord, write_record
from tests.gui.jobs.conftest import fake_request, wait_for_state


def made(workspace: Workspace, name: str, started: float, *, alive: bool = False) -> RunFolder:
    """Return a run that is over, or one whose process is this test."""
    run = RunFolder.create(workspace.runs, name, "seed = 1\n")
    record = RunRecord(name=name, job="train_network", started=started)
    mine = own_identity()
    dead = mine.model_copy(update={"pid": 4_000_000, "create_time": 1.0})
    write_record(run, record.with_process(mine if alive else dead))
    if not alive:
        with EventWriter(run.events) as events:
            events.emit(EndEvent(status="finished"))
    return run


def test_runs_are_listed_newest_first(workspace: Workspace) -> None:
    for name, started in (("b", 200.0), ("c", 300.0), ("a", 100.0)):
        made(workspace, name, started)
    made(workspace, "now", 400.0, alive=True)
    store = RunStore(workspace)
    assert [summary.name for summary in store.list()] == ["now", "c", "b", "a"]
    assert [summary.name for summary in store.running()] == ["now"]
    assert [s.status.state for s in store.list()] == ["starting", *["finished"] * 3]


def test_an_empty_or_missing_workspace_has_no_runs(tmp_path: Path) -> None:
    assert RunStore(Workspace(tmp_path / "none")).list() == []


def test_other_things_in_the_folder_are_no_runs(workspace: Workspace) -> None:
    (workspace.runs / "notes.txt").touch()
    (workspace.runs / "empty").mkdir()
    (workspace.runs / ".hidden").mkdir()
    (workspace.runs / "link").symlink_to(made(workspace, "x", 1.0).path)
    assert [summary.name for summary in RunStore(workspace).list()] == ["x"]


def test_another_program_finds_a_running_run(workspace: Workspace) -> None:
    run = start_request(workspace, fake_request(steps=10_000))
    wait_for_state(run, "running")
    restarted = RunStore(Workspace(workspace.path))
    [summary] = restarted.running()
    assert summary.folder == run
    assert summary.busy


def test_runs_that_are_over_are_read_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = made(workspace, "over", 1.0)
    made(workspace, "alive", 2.0, alive=True)
    reads: list[str] = []
    derive = store_module.derive_status

    def counted(run: RunFolder, record: RunRecord | None) -> object:
        reads.append(run.id.split("-")[0])
        return derive(run, record)

    monkeypatch.setattr(store_module, "derive_status", counted)
    store = RunStore(workspace)
    for _ in range(3):
        store.list()
    assert sorted(reads) == ["alive", "alive", "alive", "over"]
    with EventWriter(over.events) as events:
        events.emit(EndEvent(status="failed", reason="changed"))
    assert store.list()[-1].status.detail == "changed"


def test_an_id_finds_its_run(workspace: Workspace) -> None:
    run = made(workspace, "cat", 1.0)
    assert RunStore(workspace).get(run.id) == run
    summary = RunStore(workspace).summary(run.id)
    assert summary is not None
    assert summary.id == run.id


@pytest.mark.parametrize(
    "run_id",
    ["", ".", "..", "../x", "/etc", "a/b", "a\\b", "C:x", ".trash", "x\x00", "missing", "~"],
)
def test_an_id_is_no_path(workspace: Workspace, run_id: str) -> None:
    made(workspace, "a", 1.0)
    store = RunStore(workspace)
    assert store.get(run_id) is None
    assert store.summary(run_id) is None
    with pytest.raises(UserError):
        store.delete(run_id)


@given(run_id=st.text(alphabet="./\\ab:~\x00", max_size=8))
def test_no_id_leads_out(tmp_path_factory: pytest.TempPathFactory, run_id: str) -> None:
    workspace = Workspace(tmp_path_factory.getbasetemp() / "ids" / "deep")
    (workspace.runs / "ab").mkdir(parents=True, exist_ok=True)
    found = RunStore(workspace).get(run_id)
    assert found is None or found.path.parent == workspace.runs


def test_delete_frees_what_size_said(workspace: Workspace) -> None:
    run = made(workspace, "x", 1.0)
    (run.output / "weights.safetensors").write_bytes(b"\0" * 1000)
    store = RunStore(workspace)
    size = store.size(run.id)
    assert size.num_bytes > 1000
    assert size.num_files == 4
    assert store.delete(run.id) == size
    assert not run.path.exists()
    assert store.list() == []
    assert list(workspace.trash.iterdir()) == []


def test_delete_never_follows_a_link(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "pictures"
    outside.mkdir()
    (outside / "photo.png").write_bytes(b"p" * 5000)
    run = made(workspace, "x", 1.0)
    (run.output / "dir").symlink_to(outside, target_is_directory=True)
    (run.output / "file.png").symlink_to(outside / "photo.png")
    store = RunStore(workspace)
    assert store.size(run.id).num_bytes < 5000
    store.delete(run.id)
    assert (outside / "photo.png").read_bytes() == b"p" * 5000


def test_a_link_in_place_of_a_run_is_not_deleted(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.toml").touch()
    (workspace.runs / "run-1").symlink_to(outside, target_is_directory=True)
    assert RunStore(workspace).get("run-1") is None
    with pytest.raises(UserError, match="no run"):
        RunStore(workspace).delete("run-1")
    assert (outside / "config.toml").exists()


def test_a_run_at_work_is_not_deleted(workspace: Workspace) -> None:
    run = made(workspace, "x", 1.0, alive=True)
    with pytest.raises(UserError, match="still at work"):
        RunStore(workspace).delete(run.id)
    assert run.config.exists()


def test_an_interrupted_delete_is_finished_later(workspace: Workspace) -> None:
    left = workspace.trash / "x.123"
    left.mkdir(parents=True)
    (left / "big").touch()
    store = RunStore(workspace)
    assert store.list() == []
    store.empty_trash()
    assert not left.exists()


def test_what_cannot_be_deleted_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(workspace, "x", 1.0)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module.os, "rename", refuse)
    with pytest.raises(UserError, match=r"could not be deleted: .*Permission denied"):
        RunStore(workspace).delete(run.id)
    assert run.config.exists()
