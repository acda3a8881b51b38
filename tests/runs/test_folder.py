"""Run folders: names that every system takes, and no two runs in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.runs.folder import MAX_NAME_BYTES, RunFolder, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("my cat", "my cat"),
        ("Käse 猫", "Käse 猫"),
        ("a/b\\c:d*e?f", "a_b_c_d_e_f"),
        ("../../etc", "_.._etc"),
        ("..", "run"),
        ("", "run"),
        ("  . ", "run"),
        ("end. . ", "end"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com1", "_com1"),
        ("lpt²", "_lpt²"),
        ("console", "console"),
        ("tab\there\n", "tab_here_"),
        ("lone \udcff surrogate", "lone ? surrogate".replace("?", "_")),
        ("e\u0301", "é"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(alphabet=st.characters(), max_size=300))
def test_a_safe_name_is_safe_and_stays(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert len(safe.encode("utf-8")) <= MAX_NAME_BYTES + 1  # one more for the "_" of "con"
    assert not set(safe) & set('<>:"/\\|?*\x00\n\r\t')
    assert safe[0] != "."
    assert safe[-1] not in " ."
    assert safe_name(safe) == safe


def test_create_makes_the_whole_folder(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "new" / "runs", "猫: best", "network_dim = 8\n")
    assert run.path.parent == tmp_path / "new" / "runs"
    assert run.id.startswith("猫_ best-2")
    assert run.config.read_text("utf-8") == "network_dim = 8\n"
    assert all(p.is_dir() for p in (run.control, run.samples, run.state, run.output))
    assert not run.events.exists()
    assert not run.log.exists()


def test_runs_of_one_second_get_their_own_folders(tmp_path: Path) -> None:
    runs = [RunFolder.create(tmp_path, "same", f"seed = {n}\n") for n in range(5)]
    assert len({run.path for run in runs}) == 5
    assert [run.config.read_text() for run in runs] == [f"seed = {n}\n" for n in range(5)]
