"""A workspace of their own for tests of the GUI, and small pictures to choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.context import Context, make_context


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """What pages share, over a fresh workspace."""
    made = make_context(tmp_path / "work", None)
    yield made
    made.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with `3_mycat cat`: two pictures, one of them with a caption."""
    folder = tmp_path / "pictures" / "3_mycat cat"
    folder.mkdir(parents=True)
    for number, size in enumerate([(128, 96), (96, 128)]):
        Image.new("RGB", size, (40 * number, 90, 120)).save(folder / f"{number}.png")
    (folder / "0.txt").write_text("mycat, sitting")
    return folder.parent
