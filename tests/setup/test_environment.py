"""The parts of set-up that need no installation: stamp, reasons, disk, sources and their words."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.setup.small_world import SmallWorld
from tools.setup import environment as env
from tools.setup import install
from tools.setup.console import Outcome, SetupError
from tools.setup.environment import Checkout, Stamp
from tools.setup.torch_builds import BUILDS, Choice


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout with a .venv that looks finished."""
    world = SmallWorld.make(tmp_path / "checkout", tmp_path / "wheels")
    checkout = Checkout(world.root)
    checkout.python.parent.mkdir(parents=True)
    checkout.python.touch()
    env.write_stamp(checkout, finished(checkout))
    return checkout


def finished(checkout: Checkout) -> Stamp:
    place = os.fspath(checkout.venv)
    return Stamp(True, checkout.lock_hash(()), "3.12.1", (), "cpu", "2.13.0+cpu", place)


def test_a_finished_set_up_is_left_alone(checkout: Checkout) -> None:
    assert env.read_stamp(checkout) == finished(checkout)
    assert env.why_not_ready(checkout, (), None) is None
    assert env.why_not_ready(checkout, (), "cpu") is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"finished": False}, "did not finish"),
        ({"format": 99}, "did not finish"),
        ({"surprise": 1}, "did not finish"),
        ({"place": "/elsewhere/.venv"}, "moved or copied from /elsewhere"),
        ({"lock": "0"}, "pinned packages changed"),
    ],
)
def test_each_reason_to_set_up_again(
    checkout: Checkout, change: dict[str, object], reason: str
) -> None:
    stamp = json.loads(checkout.stamp_file.read_text(encoding="utf-8"))
    checkout.stamp_file.write_text(json.dumps(stamp | change), encoding="utf-8")
    assert reason in str(env.why_not_ready(checkout, (), None))


def test_wishes_are_reasons_too(checkout: Checkout) -> None:
    assert "8bit" in str(env.why_not_ready(checkout, ("8bit",), None))
    assert "from cpu to cu130" in str(env.why_not_ready(checkout, (), "cu130"))
    checkout.stamp_file.write_text("{ half")
    assert "did not finish" in str(env.why_not_ready(checkout, (), None))
    checkout.python.unlink()
    env.write_stamp(checkout, finished(checkout))
    assert "is gone" in str(env.why_not_ready(checkout, (), None))


def test_the_lock_of_an_extra_counts_only_for_who_has_it(checkout: Checkout) -> None:
    before = checkout.lock_hash(()), checkout.lock_hash(("test",))
    with open(checkout.lock_file("optimizers"), "a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    after = checkout.lock_hash(()), checkout.lock_hash(("test",))
    assert before[0] == after[0]
    assert before[1] != after[1], "the test tools bring the optimizers along"


def test_a_checkout_without_its_lock_is_told(checkout: Checkout) -> None:
    checkout.lock_file("torch").unlink()
    with pytest.raises(SetupError, match=r"torch\.txt"):
        checkout.torch_version()


def test_a_python_without_venv_gets_debians_remedy(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(env, "ask", lambda *_args, **_more: Outcome(1, "", "No module named venv"))
    with pytest.raises(SetupError) as caught:
        env.make_venv(checkout)
    assert "apt install python3-venv" in caught.value.remedy


def test_a_folder_that_cannot_be_written(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(env.os, "open", refused)
    with pytest.raises(SetupError, match="cannot be written"), env.only_one(checkout):
        pass


def test_disk_is_checked_before_anything_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 4 * install.GIB})
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _path: usage)
    install.check_disk(tmp_path, BUILDS["cpu"], has_torch=False)
    with pytest.raises(SetupError, match=r"4\.0 GB are free .* needs 9\.5 GB"):
        install.check_disk(tmp_path, BUILDS["cu130"], has_torch=False)
    install.check_disk(tmp_path, BUILDS["cu130"], has_torch=True)


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_other_pythons_are_refused(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    install.check_python()
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SetupError, match=r"3\.11, 3\.12 or 3\.13 is needed"):
        install.check_python()


@pytest.mark.parametrize(
    ("tag", "offered", "system", "words"),
    [
        ("mps", None, "Darwin", "about 0.2 GB from the package index"),
        (
            "cpu",
            "cpu",
            "Linux",
            "so it comes from your package index (about 0.3 GB)",
        ),
        ("cpu", None, "Linux", "the build for CUDA 13.0, about 2.5 GB; bigger than needed"),
        (
            "cu130",
            None,
            "Linux",
            "so it comes from your package index (about 2.5 GB)",
        ),
        ("cu126", None, "Linux", "CUDA 13.0, about 2.5 GB. It may not use your card"),
        ("cu130", None, "Windows", "the build for CPU, about 0.3 GB. It may not use your card"),
    ],
)
def test_what_comes_and_how_big_is_told(
    tag: str, offered: str | None, system: str, words: str
) -> None:
    assert words in install.plain_source_line(Choice(tag, ""), offered, system)


@pytest.fixture
def server() -> Iterator[str]:
    """A tiny index that knows one page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/cpu/torch/" else 403)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_an_index_is_reached_only_if_it_answers(server: str) -> None:
    assert install.reachable(f"{server}/cpu/torch/")
    assert not install.reachable(f"{server}/gone/torch/")
    assert not install.reachable("http://127.0.0.1:9/cpu/torch/")
    assert not install.reachable("no address")


def test_stamps_are_replaced_in_one_step(checkout: Checkout) -> None:
    env.write_stamp(checkout, replace(finished(checkout), extras=("test",)))
    stamp = env.read_stamp(checkout)
    assert stamp is not None
    assert stamp.extras == ("test",)
    assert sorted(file.name for file in checkout.venv.iterdir() if file.is_file()) == [
        "kohya_setup.json"
    ]
