"""Orders: what they may say, and that exactly one of asker and painter gets hold of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sd_scripts.painting.orders import MAX_STRENGTH, Order, OrderFolder, WordUse, is_order_id
from sd_scripts.runs.folder import RunFolder
from tests.support.painting import order, picture, use


@pytest.fixture
def folder(tmp_path: Path) -> OrderFolder:
    found = OrderFolder(RunFolder(tmp_path / "run"))
    found.open()
    return found


def test_an_order_comes_back_as_it_was_put(folder: OrderFolder) -> None:
    asked = order(Path("m"), picture(networks=(use(Path("a b.safetensors"), 0.5),)), title="ü")
    folder.put(asked)
    assert folder.waiting() == [asked.id]
    assert folder.read(asked.id) == asked
    assert folder.claim() == asked.id
    assert folder.waiting() == []
    assert folder.read(asked.id) == asked
    assert folder.known() == [asked.id]


def test_the_oldest_is_claimed_first(folder: OrderFolder) -> None:
    ids = [f"20250101-120000-00{number}-abcdef" for number in (3, 1, 2)]
    for one in ids:
        folder.put(order(Path("m"), picture(), id=one))
    assert [folder.claim() for _ in range(4)] == [*sorted(ids), None]


def test_what_is_taken_back_is_not_claimed(folder: OrderFolder) -> None:
    first, second = order(Path("m"), picture()), order(Path("m"), picture())
    folder.put(first)
    assert folder.take_back(first.id)
    assert folder.claim() is None
    folder.put(second)
    assert folder.claim() == second.id
    assert not folder.take_back(second.id)


def test_a_closed_folder_is_opened_again(folder: OrderFolder) -> None:
    folder.close()
    assert folder.is_closed()
    folder.open()
    assert not folder.is_closed()


@pytest.mark.parametrize("name", ["../x", "", "20250101-120000-001-abcdeg", "a/b"])
def test_no_path_gets_through_an_id(folder: OrderFolder, name: str) -> None:
    assert not is_order_id(name)
    for act in (folder.take_back, folder.cancel, folder.read, folder.pictures):
        with pytest.raises(ValueError, match="is no order"):
            act(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 63},
        {"width": 68},
        {"sample_steps": 0},
        {"seed": -1},
        {"sample_sampler": "magic"},
        {
            "networks": (
                use(Path("a")).model_copy(update={"strength": MAX_STRENGTH + 1}).model_dump(),
            )
        },
        {"unheard_of": 1},
    ],
)
def test_what_cannot_be_painted_is_no_order(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        picture(**changes)
    with pytest.raises(ValidationError):
        Order.model_validate({"base": {"path": "m"}, "pictures": []})


def test_an_embedding_is_called_as_its_file_unless_it_has_a_word() -> None:
    assert WordUse(path="x/my cat.safetensors").spelled == "my cat"
    assert WordUse(path="x/cat.safetensors", word="zwx").spelled == "zwx"
