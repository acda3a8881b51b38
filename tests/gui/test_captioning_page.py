"""What the captioning page and the data set tabs beside it ask the server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_gui.caption_results import ROWS, CaptionResults
from kohya_gui.context import Context, make_context
from kohya_gui.forms.caption_live import CaptionLive
from kohya_gui.forms.drafts import Draft
from kohya_gui.pages.captioning import CaptioningPage
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.dataset_jobs import job_state
from kohya_gui.pages.dataset_masks import MAX_BYTES, SIDE, DatasetMasks
from kohya_gui.settings import Settings, save_settings
from sd_scripts.options.jobs import TagImagesJob
from sd_scripts.runs.events import CaptionEvent, EndEvent, EventWriter, WarningEvent
from sd_scripts.runs.undo import UndoJournal
from tests.support.pages import make_run
from tests.support.patience import last_answer


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = make_context(tmp_path / "work", None)
    save_settings(made.workspace, Settings(roots=(str(tmp_path / "files"),)))
    yield made
    made.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "files" / "cats"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (40, 20), (200, 30, 30)).save(folder / f"{name}.png")
    (folder / "a.txt").write_text("a cat\n")
    return folder


def report(context: Context, **values: object) -> dict[str, Any]:
    """Look at a tagging form until its folder was read."""
    live = CaptionLive(context.scans, context.workspace, context.text)
    draft = Draft("tag_images_by_wd14_tagger", values)
    return last_answer(lambda: live.report(draft), lambda found: not found["working"])


def test_an_untouched_form_asks_for_the_folder_and_names_the_shipped_tagger(
    context: Context,
) -> None:
    found = report(context)
    assert found["next"]["option"] == "train_data_dir"
    assert "the small one that comes with the program" in found["family"]["text"]
    assert [row["state"] for row in found["checklist"]] == ["bad", "done", "done"]
    assert all(problem["missing"] for problem in found["problems"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "1 texts that are there are written anew"),
        ({"only_missing": True}, "1 texts that are there stay"),
        ({"append_tags": True}, "added to the 1 texts"),
        ({"output_path": "all.json"}, "all.json"),
        ({"caption_extension": ".caption"}, "a new .caption file"),
    ],
)
def test_what_becomes_of_texts_is_told(
    context: Context, pictures: Path, values: dict[str, object], words: str
) -> None:
    found = report(context, train_data_dir=str(pictures), **values)
    assert words in found["data"]["notes"][0]
    assert found["data"]["num_images"] == 2
    assert found["next"]["key"] == "start"


def test_what_is_wrong_stands_at_its_option(context: Context, pictures: Path) -> None:
    found = report(context, train_data_dir=str(pictures / "none"), model_dir=str(pictures))
    wrong = {name for problem in found["problems"] for name in problem["options"]}
    assert {"train_data_dir", "model_dir"} <= wrong


def test_results_come_newest_first_and_are_undone(context: Context, pictures: Path) -> None:
    run = make_run(context.workspace.path, "tags", alive=False, steps=0)
    run.config.write_text(f'train_data_dir = "{pictures.as_posix()}"\n')
    UndoJournal(run.undo).write({pictures / "a.txt": b"tags\n"})
    with EventWriter(run.events) as events:
        for number in range(ROWS + 2):
            name = "a.png" if number % 2 else "b.png"
            events.emit(CaptionEvent(picture=str(pictures / name), text=f"text {number}"))
        events.emit(EndEvent(status="finished", reason="Finished: all of it"))
    results = CaptionResults(context, "tag_images_by_wd14_tagger")
    first = results.look_results({"run": run.id, "page": 0})
    assert [row["text"] for row in first["rows"][:2]] == [f"text {ROWS + 1}", f"text {ROWS}"]
    assert (first["pages"], first["count"], len(first["rows"])) == (2, ROWS + 2, ROWS)
    small = Path(first["rows"][0]["small"])
    assert small.is_relative_to(context.thumbnails)
    second = results.look_results({"run": run.id, "page": 1})
    assert [row["text"] for row in second["rows"]] == ["text 1", "text 0"]
    assert first["undo"] == {"what": "undo"}
    assert first["pictures"] == pictures.as_posix()
    assert "1 file put back" in results.change_back({"run": run.id, "what": "undo"})["text"]
    assert (pictures / "a.txt").read_text() == "a cat\n"
    assert results.look_results({"run": run.id})["undo"] == {"what": "redo"}
    results.change_back({"run": run.id, "what": "clear"})
    assert results.look_results({"run": run.id})["undo"] is None
    assert results.look_results({"run": "nothing"}) == {"missing": True}


def test_what_a_job_warned_of_is_told_once_it_has_ended(context: Context) -> None:
    run = make_run(context.workspace.path, "prepare", alive=False, steps=0)
    with EventWriter(run.events) as events:
        events.emit(WarningEvent(text="a.png is cut off", hint="copy it again"))
        events.emit(EndEvent(status="finished", reason="Finished"))
    state = job_state(context, {"run": run.id})
    assert (state["warnings"], state["num_warnings"]) == (["a.png is cut off. copy it again"], 1)
    assert CaptionResults(context, "x").look_results({"run": run.id})["pictures"] is None


def png(value: int, size: tuple[int, int]) -> str:
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def masks_of(context: Context) -> DatasetMasks:
    desk: Any = DatasetDesk(context, folder=None)  # type: ignore[arg-type]
    return DatasetMasks(desk)


def test_a_painted_mask_is_written_at_the_size_of_its_picture(
    context: Context, pictures: Path
) -> None:
    before = (pictures / "a.png").read_bytes()
    masks = masks_of(context)
    asked = {"folder": str(pictures), "name": "a.png"}
    opened = masks.open_mask(asked)
    assert (opened["source"], opened["size"]) == ("none", [40, 20])
    saved = masks.save_mask({**asked, "mask": png(90, (80, 40))})
    path = pictures.with_name("cats_masks") / "a.png"
    assert saved == {"path": str(path)}
    with Image.open(path) as written:
        assert (written.size, written.mode, written.getpixel((3, 3))) == ((40, 20), "L", 90)
    assert (pictures / "a.png").read_bytes() == before
    assert masks.open_mask(asked)["source"] == "file"
    listed = masks.list_masks({"folder": str(pictures)})
    assert [row["has_mask"] for row in listed["rows"]] == [True, False]
    first = path.read_bytes()
    masks.save_mask({**asked, "mask": png(0, (4, 2))})
    kept = Path(masks.drop_mask(asked)["kept"])
    assert not path.exists()
    # Nothing that was a mask is lost: what was painted over is kept too.
    assert first in [one.read_bytes() for one in kept.parent.iterdir()]
    assert len(list(kept.parent.iterdir())) == 2


def test_small_copies_of_many_large_pictures_come_bit_by_bit(
    context: Context, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    monkeypatch.setattr("kohya_gui.thumbnails.SECONDS_A_TIME", -1.0)
    masks = masks_of(context)
    looks = [masks.list_masks({"folder": str(pictures)}) for _ in range(3)]
    assert [look["more"] for look in looks] == [True, True, False]
    assert [sum(row["small"] is not None for row in look["rows"]) for look in looks] == [1, 2, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../../secret.png"}, "not there any more"),
        ({"masks": "/"}, "not in a folder that this page may look into"),
        ({"mask": "%%%"}, "could not be written"),
        ({"mask": base64.b64encode(b"no picture").decode()}, "could not be written"),
        ({"folder": "/etc"}, "not in a folder that this page may look into"),
    ],
)
def test_masks_stay_where_they_belong(
    context: Context, pictures: Path, changes: dict[str, str], words: str
) -> None:
    (pictures.parent.parent / "secret.png").write_bytes(b"")
    asked = {"folder": str(pictures), "name": "a.png", "mask": png(9, (4, 2)), **changes}
    assert words in masks_of(context).save_mask(asked)["problem"]
    inside = {"folder": str(pictures), "name": "a.png", "masks": str(pictures / "m")}
    assert "among the pictures" in masks_of(context).save_mask(inside)["problem"]
    assert not (pictures / "m").exists()


@pytest.fixture
def painted(pictures: Path) -> dict[str, str]:
    """A request to paint, with a folder of masks that is there."""
    masks = pictures.with_name("cats_masks")
    masks.mkdir()
    return {"folder": str(pictures), "name": "a.png", "mask": png(9, (4, 2))}


def test_pictures_in_a_folder_of_masks_stay(
    context: Context, pictures: Path, painted: dict[str, str]
) -> None:
    other = pictures.with_name("cats_masks") / "a.png"
    Image.new("RGB", (40, 20), (1, 200, 3)).save(other)
    before = other.read_bytes()
    masks = masks_of(context)
    assert "not a mask" in masks.save_mask(painted)["problem"]
    assert "not a mask" in masks.drop_mask(painted)["problem"]
    assert other.read_bytes() == before


def test_links_among_masks_lead_nowhere_else(
    context: Context, pictures: Path, painted: dict[str, str], tmp_path: Path
) -> None:
    inside, mask = pictures / "b.png", pictures.with_name("cats_masks") / "a.png"
    outside = tmp_path / "secret.png"
    Image.new("L", (40, 20)).save(outside)
    masks = masks_of(context)
    for target, words in ((inside, "among the pictures"), (outside, "may look into")):
        mask.symlink_to(target)
        before = target.read_bytes()
        for ask in (masks.open_mask, masks.save_mask, masks.drop_mask):
            assert words in ask(painted)["problem"]
        assert target.read_bytes() == before
        mask.unlink()


@pytest.mark.parametrize("name", ["sub/../a.png", "./a.png", "loop.png", "out.png"])
def test_a_name_is_one_of_the_list(
    context: Context, pictures: Path, painted: dict[str, str], tmp_path: Path, name: str
) -> None:
    (pictures / "sub").mkdir()
    (pictures / "loop.png").symlink_to(pictures / "loop.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (pictures / "out.png").symlink_to(tmp_path / "secret.png")
    masks = masks_of(context)
    for ask in (masks.open_mask, masks.save_mask, masks.drop_mask):
        assert "not there any more" in ask({**painted, "name": name})["problem"]
    listed = masks.list_masks(painted)["rows"]
    assert "out.png" not in [row["name"] for row in listed]
    assert list(pictures.with_name("cats_masks").iterdir()) == []


def test_two_pictures_never_share_a_mask(
    context: Context, pictures: Path, painted: dict[str, str]
) -> None:
    for folder in ("x", "y"):
        (pictures / folder / "2_cat").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(pictures / folder / "2_cat" / "a.png")
    masks = masks_of(context)
    names = [row["name"] for row in masks.list_masks(painted)["rows"]]
    assert names == ["a.png", "b.png", "x/2_cat/a.png"]
    refused = masks.save_mask({**painted, "name": "y/2_cat/a.png"})
    assert "share its mask" in refused["problem"]


def test_a_painted_mask_that_is_huge_is_never_decoded(
    context: Context, painted: dict[str, str]
) -> None:
    masks = masks_of(context)
    for text in ("%" * (MAX_BYTES + 1), png(0, (SIDE + 1, 1))):
        assert "too large" in masks.save_mask({**painted, "mask": text})["problem"]


def test_a_trial_shows_nothing_from_outside(
    context: Context, pictures: Path, tmp_path: Path
) -> None:
    page = CaptioningPage(context, TagImagesJob)
    secret = tmp_path / "secret"
    secret.mkdir()
    Image.new("RGB", (4, 4)).save(secret / "s.png")
    (pictures / "c.png").symlink_to(secret / "s.png")
    for folder, wanted in ((pictures, ["a.png", "b.png"]), (secret, [])):
        values: dict[str, object] = {"train_data_dir": str(folder)}
        report(context, **values)
        draft = context.drafts.new_id()
        context.drafts.save(draft, Draft(TagImagesJob.name, values))
        offered = page._offered_pictures({"draft": draft})
        assert [one["name"] for one in offered] == wanted
    told = page._start_trial({"draft": draft})
    assert "may look into" in told["problems"][0]
