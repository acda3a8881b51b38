"""Set-up for real, with tiny packages: first and second start, and everything that goes wrong."""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.setup.small_world import SmallWorld, make_wheel
from tests.support.patience import START_SECONDS, eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="drives setup.sh")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> tuple[SmallWorld, str]:
    """A checkout in a folder with spaces and other letters, set up once; and what it said."""
    folder = tmp_path_factory.mktemp("Meine Übungen 学習")
    world = SmallWorld.make(folder / "Kohya & Sohn ñ", wheels)
    code, output = world.setup("--listen", "0.0.0.0", "--headless")
    assert code == 0, output
    return world, output


@pytest.fixture
def mine(finished: tuple[SmallWorld, str]) -> SmallWorld:
    """The finished checkout, given back as it was: a test may spoil it and mend it."""
    return finished[0]


def is_finished(world: SmallWorld) -> bool:
    return world.stamp.exists() and json.loads(world.stamp.read_text())["finished"] is True


def test_the_first_start_installs_and_opens_the_gui_with_its_flags(
    finished: tuple[SmallWorld, str],
) -> None:
    world, output = finished
    assert "GUI ['--listen', '0.0.0.0', '--headless'] tiny_base 1.0" in output
    stamp = json.loads(world.stamp.read_text(encoding="utf-8"))
    assert stamp["torch_version"] == "2.13.0+cpu"
    assert stamp["place"] == os.fspath(world.root / ".venv")
    assert not (world.packages / "tiny_8bit").exists(), "extras are not installed unasked"


def test_a_second_start_needs_no_source_and_changes_nothing(mine: SmallWorld) -> None:
    before = {path: path.stat().st_mtime_ns for path in (mine.root / ".venv").rglob("*.dist-info")}
    pip, aside = mine.packages / "pip", mine.packages / "pip.aside"
    pip.rename(aside)  # who would need pip would fail now
    code, output = mine.setup("--port", "1", online=False)
    assert (code, output.count("\n")) == (0, 1), output
    assert "GUI ['--port', '1']" in output
    after = {path: path.stat().st_mtime_ns for path in (mine.root / ".venv").rglob("*.dist-info")}
    assert after == before
    aside.rename(pip)


def test_an_extra_is_added(mine: SmallWorld) -> None:
    code, output = mine.setup("install", "--extras", "8bit")
    assert (code, "to add: 8bit" in output) == (0, True), output
    assert (mine.packages / "tiny_8bit" / "__init__.py").exists()


def test_an_interrupted_install_is_mended(mine: SmallWorld) -> None:
    stamp = json.loads(mine.stamp.read_text(encoding="utf-8"))
    mine.stamp.write_text(json.dumps(stamp | {"finished": False}), encoding="utf-8")
    damaged = mine.packages / "tiny_base" / "data.bin"
    damaged.write_bytes(damaged.read_bytes()[:100])
    (mine.packages / "torch-2.13.0+cpu.dist-info" / "RECORD").unlink()
    (mine.packages / "~orch").mkdir()
    code, output = mine.setup("install")
    assert code == 0, output
    assert "an earlier set-up did not finish" in output
    assert "Half-installed before, so again: tiny_base, torch" in output
    assert damaged.stat().st_size == 256 * 400
    assert not (mine.packages / "~orch").exists()
    assert json.loads(mine.stamp.read_text(encoding="utf-8")) == stamp


def test_a_killed_set_up_goes_on_and_two_at_once_do_it_once(tmp_path: Path, wheels: Path) -> None:
    world = SmallWorld.make(tmp_path / "killed", wheels)
    process = world.start("install", "--extras", "8bit")
    assert eventually(lambda: world.stamp.exists() or process.poll() is not None, START_SECONDS)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not is_finished(world)
    both = [world.start("--port", "1"), world.start("--port", "2")]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert ["Set-up is done" in text for text in outputs].count(True) == 1, outputs
    assert ["waiting for it" in text for text in outputs].count(True) == 1, outputs
    assert all("GUI ['--port'" in text for text in outputs)
    assert (world.packages / "tiny_8bit").exists(), "what was asked for is remembered"


def test_a_moved_checkout_is_set_up_again_and_works_meanwhile(mine: SmallWorld) -> None:
    home, elsewhere = mine.root, mine.root.with_name("umgezogen")
    home.rename(elsewhere)
    try:
        moved = SmallWorld(elsewhere, mine.wheels)
        code, output = moved.setup(online=False)
        assert code == 0, output
        assert f"moved or copied from {home}" in output
        assert "still works, so it is used for now" in output
        assert "GUI []" in output
        code, output = moved.setup()
        assert code == 0, output
        place = json.loads(moved.stamp.read_text(encoding="utf-8"))["place"]
        assert place == os.fspath(elsewhere / ".venv"), output
        assert not (elsewhere / ".venv-moved").exists()
    finally:
        elsewhere.rename(home)


def test_a_dead_python_means_a_new_venv(mine: SmallWorld) -> None:
    python = mine.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    code, output = mine.setup()
    assert code == 0, output
    assert "is gone" in output or "was moved" in output
    assert "GUI []" in output


def test_a_new_lock_is_followed_and_a_wrong_file_refused(mine: SmallWorld) -> None:
    old = (mine.root / "tools" / "setup" / "locked" / "base.txt").read_text()
    mine.pin("base", "tiny_base", "2.0", sha256="0" * 64)
    code, output = mine.setup("install")
    assert code == 2
    assert "not the one that was pinned" in output
    assert not is_finished(mine)
    code, output = mine.setup("install", online=False)
    assert code == 2
    assert "What to do:" in output
    assert os.fspath(mine.root / ".setup" / "install.log") in output
    assert not is_finished(mine)
    mine.pin("base", "tiny_base", "2.0")
    code, output = mine.setup()
    assert (code, "tiny_base 2.0" in output) == (0, True), output
    (mine.root / "tools" / "setup" / "locked" / "base.txt").write_text(old)
    assert "tiny_base 1.0" in mine.setup()[1]


def test_pytorchs_own_index_is_used_where_it_answers(mine: SmallWorld, tmp_path: Path) -> None:
    wheel, _ = make_wheel(
        tmp_path / "cu126" / "torch", "torch", "2.13.0+cu126", "__version__ = '2.13.0+cu126'\n"
    )
    (wheel.parent / "index.html").write_text(f"<a href='{wheel.name}'>{wheel.name}</a>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=os.fspath(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_port}"
        sources = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": f"{index}/simple"}
        words = ("install", "--torch", "cu126")
        code, output = mine.setup(*words, KOHYA_TORCH_INDEX=index, **sources)
        server.shutdown()
    assert code == 0, output
    assert f"about 2.8 GB from {index}/cu126" in output
    stamp = json.loads(mine.stamp.read_text(encoding="utf-8"))
    assert (stamp["torch_build"], stamp["torch_version"]) == ("cu126", "2.13.0+cu126")
    code, output = mine.setup("install", "--torch", "cpu")
    assert (code, "from your package index (about 0.3 GB)" in output) == (0, True), output
    stamp = json.loads(mine.stamp.read_text(encoding="utf-8"))
    assert stamp["torch_version"] == "2.13.0+cpu"


def test_another_torch_build_falls_back_with_a_clear_line(mine: SmallWorld) -> None:
    code, output = mine.setup("install", "--torch", "cu130")
    assert code == 0, output
    assert "http://127.0.0.1:9/cu130 cannot be reached; PyTorch 2.13.0+cpu is kept." in output
    assert json.loads(mine.stamp.read_text())["torch_build"] == "cu130"
    code, output = mine.setup("install", online=False)
    assert (code, output) == (0, ""), "what was chosen once stays, without asking again"
    assert mine.setup("install", "--torch", "cpu")[0] == 0
