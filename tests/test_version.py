"""Files tell the commit that they were made by, with or without git on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts import version
from sd_scripts.version import commit_of, program_version

COMMIT, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")


def test_a_branch_a_packed_branch_and_no_branch(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    assert commit_of(tmp_path) is None
    write(git / "HEAD", "ref: refs/heads/main")
    assert commit_of(tmp_path) is None
    write(git / "packed-refs", f"# pack-refs\n{OTHER} refs/heads/amain\n{COMMIT} refs/heads/main")
    assert commit_of(tmp_path) == COMMIT
    write(git / "refs" / "heads" / "main", OTHER)
    assert commit_of(tmp_path) == OTHER
    write(git / "HEAD", COMMIT)
    assert commit_of(tmp_path) == COMMIT
    write(git / "HEAD", "rubbish")
    assert commit_of(tmp_path) is None


def test_a_worktree(tmp_path: Path) -> None:
    main = tmp_path / "main" / ".git"
    write(tmp_path / "tree" / ".git", "gitdir: ../main/.git/worktrees/tree")
    write(main / "worktrees" / "tree" / "HEAD", "ref: refs/heads/side")
    write(main / "worktrees" / "tree" / "commondir", "../..")
    write(main / "refs" / "heads" / "side", COMMIT)
    assert commit_of(tmp_path / "tree") == COMMIT


def test_without_git_it_is_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "_ROOT", tmp_path)
    program_version.cache_clear()
    assert program_version() == "kohya-gui/unknown"
    write(tmp_path / "pyproject.toml", '[project]\nversion = "1.2"')
    program_version.cache_clear()
    assert program_version() == "kohya-gui/1.2"
    program_version.cache_clear()
