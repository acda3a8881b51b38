"""The folder's field: what is dropped is copied into a folder of the workspace of its own."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.pages.dataset import FolderChoice
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.quick_gradio import gr


@pytest.fixture
def choice(context: Context) -> FolderChoice:
    return FolderChoice(DatasetDesk(context, gr.Textbox()))


def piece(name: str, data: bytes, offset: int, total: int) -> dict[str, object]:
    return {
        "name": name,
        "offset": offset,
        "total": total,
        "data": base64.b64encode(data).decode("ascii"),
    }


def test_what_is_dropped_at_once_lies_together(choice: FolderChoice, context: Context) -> None:
    first = {"drop": "0123456789abcdef", "folder": "../my cats"}
    assert choice.take_upload({**first, **piece("a.png", b"abc", 0, 5)}) == {"folder": None}
    folder = Path(choice.take_upload({**first, **piece("a.png", b"de", 3, 5)})["folder"])
    assert (folder / "a.png").read_bytes() == b"abcde"
    assert folder.parent == context.workspace.path / "pictures"
    again = choice.take_upload({**first, **piece("a.txt", b"a cat", 0, 5)})
    assert again == {"folder": str(folder), "stem": "a"}
    later = {"drop": "f" * 16, "folder": "my cats"}
    assert choice.take_upload({**later, **piece("a.png", b"x", 0, 1)})["folder"] != str(folder)


@pytest.mark.parametrize("drop", ["", "../../etc/passwd", "0123456789abcdeF", None])
def test_a_number_of_no_drop_of_ours_is_refused(
    choice: FolderChoice, context: Context, drop: str | None
) -> None:
    told = choice.take_upload({"drop": drop, "folder": "x", **piece("a.png", b"x", 0, 1)})
    assert told["problems"]
    assert not (context.workspace.path / "pictures").exists()
