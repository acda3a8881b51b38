"""run.json: who wrote it, who may fill it in, and the folder of a start by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sd_scripts.errors import UserError
from sd_scripts.runs import control
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import identity_of, own_identity
from sd_scripts.runs.record import (
    RunRecord,
    claim,
    installed_versions,
    open_run,
    read_record,
    write_record,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "job", "seed = 1\n")


def test_a_record_is_flat_and_comes_back(run: RunFolder) -> None:
    record = RunRecord(name="猫", job="train_network", argv=("a", "b c"), parent="p")
    record = record.with_process(own_identity())
    write_record(run, record)
    data = json.loads(run.run_json.read_text("utf-8"))
    assert data["pid"] == os.getpid()
    assert data["create_time"] == pytest.approx(own_identity().create_time)
    assert data["argv"] == ["a", "b c"]
    assert data["name"] == "猫"
    assert read_record(run) == record
    assert record.process == own_identity()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"pid": "many"}'])
def test_a_broken_record_is_none(run: RunFolder, content: bytes) -> None:
    run.run_json.write_bytes(content)
    assert read_record(run) is None


def test_a_record_of_a_newer_version_is_read(run: RunFolder) -> None:
    run.run_json.write_text('{"format": 9, "pid": 5, "create_time": 1.0, "moon": "full"}')
    record = read_record(run)
    assert record is not None
    assert record.pid == 5


def test_the_trainer_fills_in_what_a_dead_launcher_left_open(run: RunFolder) -> None:
    write_record(run, RunRecord(name="n", job="j", argv=("x",), started_by="gui", queue_id="q"))
    claim(run, job="j", name="n", argv=["y"])
    record = read_record(run)
    assert record is not None
    assert record.process == own_identity()
    assert (record.argv, record.started_by, record.queue_id) == (("x",), "gui", "q")


def test_what_the_launcher_wrote_stays(run: RunFolder) -> None:
    parent = identity_of(os.getppid())
    assert parent is not None
    write_record(run, RunRecord(argv=("launch",), started_by="gui").with_process(parent))
    before = run.run_json.read_bytes()
    claim(run, job="j", name="n", argv=["y"])
    assert run.run_json.read_bytes() == before


def test_a_new_start_in_an_old_folder_takes_it_over(run: RunFolder) -> None:
    old = own_identity().model_copy(update={"create_time": 5.0, "boot_id": "old"})
    write_record(run, RunRecord(name="n", argv=("old",), started_by="gui").with_process(old))
    control.request(run, "stop")
    control.request(run, control.KILL_MARK)
    claim(run, job="j", name="n", argv=["new"])
    assert list(run.control.iterdir()) == []
    record = read_record(run)
    assert record is not None
    assert record.process == own_identity()
    assert (record.name, record.argv, record.started_by) == ("n", ("new",), "hand")


def test_two_trainers_do_not_share_a_folder(run: RunFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        identity = identity_of(other.pid)
        assert identity is not None
        write_record(run, RunRecord().with_process(identity))
        with pytest.raises(UserError, match="is at work"):
            open_run(run.path, output_dir=None, name="n", job="j", config_toml="")
        other.kill()
    record = read_record(run)
    assert record is not None
    assert record.process == identity


def test_a_start_by_hand_makes_its_folder_beside_the_output(tmp_path: Path) -> None:
    output = tmp_path / "loras" / "cat"
    run = open_run(
        None, output_dir=str(output), name="cat", job="train_network", config_toml="seed = 2\n"
    )
    assert run.path.parent == tmp_path / "loras" / "runs"
    assert run.config.read_text() == "seed = 2\n"
    record = read_record(run)
    assert record is not None
    assert record.pid == os.getpid()
    assert record.started_by == "hand"
    assert record.argv[0] == sys.executable
    assert record.versions["python"]


def test_a_given_folder_keeps_its_config(run: RunFolder) -> None:
    again = open_run(run.path, output_dir=None, name="n", job="j", config_toml="other = 1\n")
    assert again.path == run.path
    assert again.config.read_text() == "seed = 1\n"


def test_a_given_folder_is_made(tmp_path: Path) -> None:
    run = open_run(tmp_path / "a" / "b", output_dir=None, name="n", job="j", config_toml="x = 1\n")
    assert run.config.read_text() == "x = 1\n"
    assert run.control.is_dir()


def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(UserError) as caught:
        open_run(blocked / "run", output_dir=None, name="n", job="j", config_toml="")
    assert caught.value.problems[0].option == "run_dir"


def test_versions_name_what_matters() -> None:
    versions = installed_versions()
    assert versions["torch"]
    assert versions["python"] == sys.version.split()[0]
