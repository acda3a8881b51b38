"""Notes on runs: nobody's words are lost, whoever writes when."""

from __future__ import annotations

import threading

from kohya_gui.jobs.notes import (
    MAX_TAG,
    Changed,
    RunNote,
    change_tags,
    clean_tags,
    note_path,
    read_note,
    write_note,
)
from kohya_gui.workspace import Workspace
from sd_scripts.runs.folder import RunFolder


def test_tags_are_plain_and_each_there_once() -> None:
    assert clean_tags([" #best ", "Best", "", "too   strong", "#", "x" * 99]) == (
        "best",
        "too strong",
        "x" * MAX_TAG,
    )


def test_a_note_comes_back_and_its_version_counts(workspace: Workspace) -> None:
    run = RunFolder.create(workspace.runs, "a", "")
    assert read_note(run) == RunNote()
    assert write_note(workspace, run, "gut 犬", ["a"], 0) == read_note(run)
    assert read_note(run) == RunNote(version=1, note="gut 犬", tags=("a",))
    assert isinstance(write_note(workspace, run, "other", [], 0), Changed)
    assert change_tags(workspace, run, add=["b"], remove=["A"]).tags == ("b",)
    assert read_note(run) == RunNote(version=2, note="gut 犬", tags=("b",))
    assert change_tags(workspace, run, add=["b"]).version == 2


def test_a_damaged_note_is_put_aside_before_a_new_one_is_written(workspace: Workspace) -> None:
    run = RunFolder.create(workspace.runs, "a", "")
    note_path(run).write_text("{ my words", "utf-8")
    assert read_note(run) == RunNote()
    write_note(workspace, run, "new", [], 0)
    [aside] = run.path.glob("note.damaged-*.json")
    assert aside.read_text("utf-8") == "{ my words"


def test_tags_of_many_at_once_are_all_kept(workspace: Workspace) -> None:
    run = RunFolder.create(workspace.runs, "a", "")
    threads = [
        threading.Thread(target=change_tags, args=(workspace, run, [f"tag {n}"])) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_note(run).tags) == {f"tag {n}" for n in range(8)}
