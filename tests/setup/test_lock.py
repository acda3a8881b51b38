"""The lock: complete, hashed, of one piece with pyproject.toml, and free of addresses."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.setup.small_world import PROJECT
from tools.gate import lockfiles
from tools.setup import environment

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = PROJECT / "tools" / "setup" / "locked"
HASHED = ("base", *environment.EXTRAS)


def heads(part: str) -> list[Requirement]:
    text = (LOCK / f"{part}.txt").read_text(encoding="utf-8")
    return [Requirement(head) for head, _ in lockfiles.parse_blocks(text)]


def test_the_files_are_those_that_set_up_knows() -> None:
    assert {file.stem for file in LOCK.glob("*.txt")} == {*HASHED, "torch"}


@pytest.mark.parametrize("part", HASHED)
def test_everything_is_pinned_with_hashes_and_no_address(part: str) -> None:
    text = (LOCK / f"{part}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    blocks = lockfiles.parse_blocks(text)
    assert blocks
    for head, block in blocks:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; .+)?", head), head
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), head


def test_torch_is_pinned_once_and_by_version_alone() -> None:
    assert [str(need) for need in heads("torch")] == [lockfiles.torch_pin(PROJECT)]
    named = {need.name for part in HASHED for need in heads(part)}
    assert not {name for name in named if name.startswith(("torch", "nvidia", "triton", "cuda"))}
    assert set(lockfiles.NEEDED_BY_TORCH) <= named


@pytest.mark.parametrize("part", HASHED)
def test_what_pyproject_asks_for_is_in_the_lock(part: str) -> None:
    extras = PROJECT_TABLE["optional-dependencies"]
    asked = PROJECT_TABLE["dependencies"] if part == "base" else extras[part]
    pinned = {need.name: need for need in heads(part)}
    for text in asked:
        need = Requirement(text)
        if need.name in ("torch", PROJECT_TABLE["name"]):
            continue
        (version,) = pinned[need.name.replace("_", "-")].specifier
        assert need.specifier.contains(version.version), text


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "win32", "darwin"])
def test_each_package_has_one_version_for_each_system(python: str, system: str) -> None:
    surroundings = {
        "python_full_version": f"{python}.5",
        "python_version": python,
        "sys_platform": system,
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
    }
    chosen: dict[str, str] = {}
    for part in HASHED:
        for need in heads(part):
            if need.marker is None or need.marker.evaluate(surroundings):
                version = str(need.specifier)
                assert chosen.setdefault(need.name, version) == version
    assert len(chosen) > 90


def test_markers_lose_what_is_true_everywhere() -> None:
    def simple(head: str) -> str | None:
        block = lockfiles.simplify((head, f"{head} \\\n    --hash=sha256:0"))
        return block[0] if block else None

    assert simple("a==1 ; python_full_version < '3.14'") == "a==1"
    windows = "a==1 ; python_full_version < '3.14' and sys_platform == 'win32'"
    assert simple(windows) == "a==1 ; sys_platform == 'win32'"
    between = "a==1 ; python_full_version >= '3.12' and python_full_version < '3.14'"
    assert simple(between) == "a==1 ; python_full_version >= '3.12'"
    assert simple("a==1 ; python_full_version < '3.14' and sys_platform == 'emscripten'") is None
    assert simple("a==1 ; python_full_version < '3.12'") == "a==1 ; python_full_version < '3.12'"
