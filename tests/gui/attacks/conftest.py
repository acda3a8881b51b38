"""A running server to attack: a folder that may be seen, one that may not, links between them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kohya_gui.settings import Settings, save_settings
from sd_scripts.runs.folder import RunFolder
from tests.gui.attacks.evils import CONTENT, NAME, UNSAID
from tests.gui.test_server import Served
from tests.support.pages import add_sample, make_run


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacked")
    seen = folder / "seen"
    outside = folder / "outside"
    for one in (seen, outside):
        one.mkdir()
    for name in (
        f"{NAME}.png",
        f"{NAME}.txt",
        f"{NAME}.safetensors",
        f"{NAME}.toml",
        f"{UNSAID}.png",
    ):
        (outside / name).write_text(CONTENT)
    (seen / "link").symlink_to(outside)
    (seen / "link.txt").symlink_to(outside / f"{NAME}.txt")
    page = Served(folder, [])
    save_settings(page.context.workspace, Settings(roots=(str(seen),)))
    yield page
    page.close()


@pytest.fixture(scope="package")
def run(served: Served) -> RunFolder:
    made = make_run(served.context.workspace.path, "mycat", alive=False)
    add_sample(made, 3, 0, "a cat")
    (made.path / "away").symlink_to(served.context.workspace.path.parent / "outside")
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The addresses other than this machine's that were asked while a test went on."""
    found: list[object] = []
    plain_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            found.append(address)
            raise ConnectionRefusedError
        plain_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return found
