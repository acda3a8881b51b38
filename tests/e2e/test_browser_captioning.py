"""The captioning page in a real browser, with the tagger and captioner that ship."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from kohya_gui.settings import Settings, save_settings
from kohya_gui.workspace import open_workspace
from sd_scripts.runs.events import CaptionEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record, write_record
from sd_scripts.shipped import STARTER_TAGGER
from tests.support.pages import (
    PATIENCE_MS,
    Gui,
    Watched,
    make_run,
    running_gui,
    tab_to,
)
from tests.support.patience import eventually

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)
OPENING = "**/gradio_api/run/**"
"""The request that opens the folder of the data set page."""


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    folder = tmp_path_factory.mktemp("captions")
    pictures = folder / "files" / "robots"
    pictures.mkdir(parents=True)
    for picture in sorted((STARTER_TAGGER.parent / "pictures" / "robot").rglob("*.png"))[:4]:
        shutil.copy(picture, pictures)
    workspace = open_workspace(folder / "work")
    save_settings(workspace, Settings(roots=(str(folder / "files"),)))
    with running_gui(workspace.path) as served:
        yield served


def robots(gui: Gui) -> Path:
    return gui.workspace.parent / "files" / "robots"


def texts(gui: Gui) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in robots(gui).glob("*.txt")}


def finished(page: Page) -> None:
    expect(page.locator("#kg-results [data-state]")).to_have_attribute("data-state", "finished")


def test_tags_are_tried_written_shown_and_undone(watched: Watched, gui: Gui) -> None:
    for path in robots(gui).glob("*.txt"):
        path.unlink()
    first = min(robots(gui).glob("*.png"))
    first.with_suffix(".txt").write_text("my own words\n")
    page = watched.open_form(gui.page("captioning"))
    expect(page.locator("[data-slot=actions]")).to_contain_text("choose the folder")
    expect(page.locator("[data-slot=family]")).to_contain_text("the small one that comes")
    page.fill("#opt-train_data_dir input", str(robots(gui)))
    expect(page.locator("[data-headline]")).to_have_text("4 pictures, 1 with a text already")
    expect(page.locator("[data-slot=trial] .kg-strip-tile")).to_have_count(4)
    page.click("#kg-try")
    expect(page.locator("[data-trial-text]")).not_to_be_empty()
    expect(page.locator("[data-trial] li.kg-taken").first).to_be_visible()
    assert texts(gui) == {f"{first.stem}.txt": "my own words\n"}
    page.click("#kg-start")
    expect(page.locator(".kg-caption-card")).to_have_count(4)
    finished(page)
    expect(page.locator("[data-look]")).to_have_attribute("href", re.compile("pictures.*robots"))
    written = texts(gui)
    assert len(written) == 4
    assert "my own words\n" not in written.values()
    page.reload()
    watched.wait_for_form()
    expect(page.locator(".kg-caption-card")).to_have_count(4)
    page.click("#kg-undo")
    expect(page.locator("[data-changed=undo]")).to_contain_text("4 files put back")
    assert texts(gui) == {f"{first.stem}.txt": "my own words\n"}
    page.click("#kg-undo[data-what=redo]")
    expect(page.locator("[data-changed=redo]")).to_be_visible()
    assert texts(gui) == written


def test_sentences_keep_the_folder_and_their_own_form(watched: Watched, gui: Gui) -> None:
    page = watched.open_form(gui.page(f"captioning?folder={robots(gui)}"))
    expect(page.locator("#opt-train_data_dir input")).to_have_value(str(robots(gui)))
    page.click("[data-engine=make_captions]")
    watched.wait_for_form()
    expect(page.locator("#opt-train_data_dir input")).to_have_value(str(robots(gui)))
    page.check("#opt-beam_search input")
    expect(page.locator("[data-slot=side]")).to_contain_text("4")
    page.click("#kg-try")
    expect(page.locator("[data-trial-text]")).to_contain_text("on a red background")
    page.click("[data-engine=tag_images_by_wd14_tagger]")
    watched.wait_for_form()
    page.go_back()
    watched.wait_for_form()
    expect(page.locator("#opt-beam_search input")).to_be_checked()


def test_what_is_wrong_is_told_before_and_a_failed_trial_says_why(
    watched: Watched, gui: Gui, tmp_path: Path
) -> None:
    empty = gui.workspace.parent / "files" / "empty"
    empty.mkdir(exist_ok=True)
    page = watched.open_form(gui.page("captioning"))
    page.fill("#opt-train_data_dir input", str(empty))
    expect(page.locator("#opt-train_data_dir .kg-troubles")).to_contain_text("no pictures")
    expect(page.locator("#kg-try")).to_be_disabled()
    tagger = gui.workspace.parent / "files" / "tagger"
    shutil.copytree(STARTER_TAGGER, tagger, dirs_exist_ok=True)
    (tagger / "model.onnx").write_bytes(b"no model")
    page.fill("#opt-train_data_dir input", str(robots(gui)))
    page.fill("#opt-model_dir input", str(tagger))
    expect(page.locator("[data-slot=family]")).to_contain_text(str(tagger))
    page.click("#kg-try")
    expect(page.locator("[data-trial]")).to_contain_text("cannot be loaded")
    (tagger / "model.onnx").unlink()
    page.fill("#opt-model_dir input", str(tagger) + "/")
    expect(page.locator("#opt-model_dir .kg-troubles")).to_contain_text("has no tagger in it")


def test_a_run_at_work_is_found_again_after_a_restart_and_can_be_stopped(
    watched: Watched, gui: Gui
) -> None:
    run = make_run(gui.workspace, "tags", steps=0)
    record = read_record(run)
    assert record is not None
    write_record(run, record.model_copy(update={"job": "tag_images_by_wd14_tagger"}))
    names = ("01.png", "02.png")
    page = watched.open_form(gui.page("captioning"))
    say_caption(run, robots(gui) / names[0], "first words")
    expect(page.locator(".kg-caption-card")).to_contain_text("first words")
    gui.stop()
    say_caption(run, robots(gui) / names[1], "later words")
    gui.start()
    expect(page.locator(".kg-caption-card")).to_have_count(2)
    watched.errors.clear()  # the browser tells of requests that met no server
    page.reload()
    watched.wait_for_form()
    expect(page.locator(".kg-caption-card").first).to_contain_text("later words")
    page.click("#kg-stop")
    assert eventually((run.control / "stop").is_file)
    expect(page.locator("#kg-stop")).to_be_disabled()
    shutil.rmtree(run.path)  # nobody works there


def test_a_job_that_waits_is_followed_once_the_other_has_ended(watched: Watched, gui: Gui) -> None:
    other = make_run(gui.workspace, "a training")
    page = watched.open_form(gui.page(f"captioning?folder={robots(gui)}"))
    expect(page.locator("[data-headline]")).to_contain_text("4 pictures")
    page.click("#kg-start")
    waits = page.locator("#kg-caption-waits [data-queued]")
    expect(waits).to_contain_text("starts by itself when “a training” has ended")
    expect(waits).to_be_in_viewport(ratio=1)
    page.reload()
    watched.wait_for_form()
    expect(waits).to_contain_text("a training")
    shutil.rmtree(other.path)  # nobody works there
    expect(page.locator("#kg-results")).to_be_visible()
    finished(page)
    expect(waits).to_have_count(0)


def say_caption(run: RunFolder, picture: Path, text: str) -> None:
    with EventWriter(run.events) as events:
        events.emit(CaptionEvent(picture=str(picture), text=text))


def test_nothing_is_wider_than_the_screen(watched: Watched, gui: Gui) -> None:
    page = watched.open_form(gui.page(f"captioning?folder={robots(gui)}"))
    assert eventually(lambda: page.locator("[data-slot=trial] img").count() == 4)
    page.click("[data-tier=expert]")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def open_tab(watched: Watched, gui: Gui, name: str) -> Page:
    page = watched.page
    page.goto(gui.page(f"pictures?folder={robots(gui)}"))
    page.get_by_role("tab", name=name).click()
    return page


def test_what_is_clicked_while_the_folder_is_opened_is_carried_out_then(
    watched: Watched, gui: Gui
) -> None:
    long = ", ".join(f"word{number}" for number in range(40))
    (robots(gui) / "01.txt").write_text(long)
    held: list[Route] = []
    watched.page.route(OPENING, lambda route: held.append(route))
    with watched.page.expect_request(OPENING):
        page = open_tab(watched, gui, "What the model will see")
    page.click("#kg-seen-draw")
    expect(page.locator("#kg-dataset-samples [data-waits=folder]")).to_be_visible()
    page.get_by_role("tab", name="Doctor").click()
    page.click("#kg-doctor-start")
    expect(page.locator("#kg-dataset-doctor [data-waits=folder]")).to_be_visible()
    for opening in held:
        opening.continue_()
    page.unroute(OPENING)
    expect(page.locator("#kg-dataset-doctor [data-ended]")).to_be_visible()
    page.get_by_role("tab", name="What the model will see").click()
    expect(page.locator("[data-seen]")).to_have_attribute("data-seen", "4")
    card = page.locator('.kg-seen-card[data-picture="01.png"]')
    expect(card.locator("del")).to_contain_text("word39")


def test_a_mask_is_painted_and_saved_beside_the_pictures(watched: Watched, gui: Gui) -> None:
    picture = robots(gui) / "01.png"
    before = picture.read_bytes()
    page = open_tab(watched, gui, "Masks")
    page.click('.kg-mask-list [data-name="01.png"]')
    shade = page.locator(".kg-mask-shade")
    expect(shade).to_be_visible()
    page.click("[data-mask-act=all_out]")
    page.click("[data-brush=learn]")
    shade.click()
    page.click("#kg-mask-save")
    expect(page.locator("[data-mask-state]")).to_contain_text("Saved as")
    with Image.open(robots(gui).with_name("robots_masks") / "01.png") as mask:
        with Image.open(picture) as painted:
            assert mask.size == painted.size
        assert mask.getpixel((mask.width // 2, mask.height // 2)) == 255
        assert mask.getpixel((1, 1)) == 0
    assert picture.read_bytes() == before


def test_a_mask_is_painted_by_the_keyboard_alone(watched: Watched, gui: Gui) -> None:
    page = watched.page
    page.goto(gui.page(f"pictures?folder={robots(gui)}"))
    page.get_by_role("tab", name="Masks").press("Enter")
    page.locator('.kg-mask-list [data-name="02.png"]').press("Enter")
    expect(page.locator("[data-easel='02.png']")).to_be_visible()
    tab_to(page, ".kg-mask-shade")
    spoken, ring = page.locator("[data-mask-spoken]"), page.locator(".kg-mask-ring")
    expect(spoken).to_contain_text("50 % from the left, 50 % from the top: 100 % learned here.")
    expect(ring).to_be_visible()

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    # All of it is left out by a rectangle from corner to corner.
    press("Home", "PageUp", "r")
    expect(spoken).to_contain_text("opposite corner")
    press("End", "PageDown")
    expect(page.locator(".kg-mask-frame")).to_be_visible()
    press("r")
    expect(spoken).to_contain_text("100 % from the left, 100 % from the top: 0 % learned here.")
    expect(page.locator(".kg-mask-frame")).to_be_hidden()
    # A line up the right side is learned; a dot on the left is taken back.
    press("x", "+")
    expect(spoken).to_have_text("The brush paints “Learn”, 14 % wide.")
    expect(page.locator("[data-brush=learn]")).to_have_attribute("aria-pressed", "true")
    press("Enter", *["ArrowUp"] * 10)
    expect(spoken).to_contain_text("80 % from the top: 100 % learned here.")
    press("Enter")
    expect(spoken).to_contain_text("The brush is up.")
    press("Home", "Space")
    expect(spoken).to_contain_text("100 % learned here.")
    press("Control+z")
    expect(spoken).to_contain_text("0 % learned here. One step taken back.")
    tab_to(page, "#kg-mask-save")
    expect(ring).to_be_hidden()
    press("Enter")
    expect(page.locator("[data-mask-state]")).to_contain_text("Saved as")
    with Image.open(robots(gui).with_name("robots_masks") / "02.png") as mask:
        right, bottom = mask.width - 1, mask.height - 1
        values = [
            mask.getpixel(at)
            for at in ((right, bottom), (right, int(bottom * 0.82)), (0, int(bottom * 0.8)), (5, 5))
        ]
    assert values == [255, 255, 0, 0]
