"""Doctor and preparing in a real browser: examined, decided, taken back; looked at, then made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from kohya_gui.datasets.places import place_of
from kohya_gui.pages.dataset_jobs import DEVICE
from kohya_gui.settings import Settings, save_settings
from kohya_gui.workspace import open_workspace
from sd_scripts.dataset.doctor.findings import Finding, Remedy, Report
from sd_scripts.shipped import STARTER
from tests.support.pages import PATIENCE_MS, Gui, Watched, make_run, running_gui

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    folder = tmp_path_factory.mktemp("doctor")
    pictures = folder / "files" / "5_ohwx robot"
    pictures.mkdir(parents=True)
    for picture in sorted((STARTER / "pictures" / "robot").rglob("*.png"))[:4]:
        shutil.copy(picture, pictures)
    shutil.copy(min(pictures.iterdir()), pictures / "twin.png")
    workspace = open_workspace(folder / "work")
    save_settings(workspace, Settings(roots=(str(folder / "files"),)))
    with running_gui(workspace.path) as served:
        yield served


@pytest.fixture
def page(browser: Browser, gui: Gui) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context)
    page = watched.page
    page.goto(gui.page("pictures"))
    page.fill("#kg-dataset-path", str(robots(gui)))
    page.keyboard.press("Enter")
    yield page
    assert watched.errors == []
    assert watched.outside == []
    context.close()


def robots(gui: Gui) -> Path:
    return gui.workspace.parent / "files" / "5_ohwx robot"


def decided(gui: Gui) -> dict[str, object]:
    tree = json.loads(place_of(open_workspace(gui.workspace), robots(gui)).decisions.read_text())
    found: dict[str, object] = tree["pictures"]
    return found


def test_twins_are_found_left_out_and_taken_in_again(page: Page, gui: Gui) -> None:
    page.get_by_role("tab", name="Doctor").click()
    expect(page.locator("#kg-doctor-findings")).to_contain_text("Nobody has examined")
    expect(page.locator("#kg-doctor-caption_extension")).to_have_value(".txt")
    expect(page.locator("#kg-doctor-enable_bucket")).to_be_checked()
    page.fill("#kg-doctor-resolution", "128")
    page.uncheck("#kg-doctor-enable_bucket")
    page.click("#kg-doctor-start")
    twins = page.locator("[data-finding=same]")
    expect(twins).to_contain_text("same file under several names")
    expect(twins.locator("img")).to_have_count(2)
    twins.locator("[data-remedy=exclude]").click()
    expect(twins.locator("[data-remedy=exclude]")).to_be_disabled()
    expect(twins.locator(".kg-doctor-out")).to_have_count(1)
    assert len(decided(gui)) == 1
    page.click("#kg-doctor-undo")
    expect(twins.locator(".kg-doctor-out")).to_have_count(0)
    assert decided(gui) == {}
    assert len(list(robots(gui).iterdir())) == 5


def test_a_caption_remedy_opens_the_captions_with_the_words_filled_in(page: Page, gui: Gui) -> None:
    names = [str(path) for path in sorted(robots(gui).iterdir())[:2]]
    remedy = Remedy("caption", "Put “ohwx” in front", tuple(names), prefix="ohwx, ")
    finding = Finding("no_trigger", "bad", "No word.", tuple(names), remedies=(remedy,))
    report = Report(str(robots(gui)), 5, "x", (finding,))
    place = place_of(open_workspace(gui.workspace), robots(gui))
    place.path.mkdir(parents=True, exist_ok=True)
    place.doctor.write_text(report.to_json())
    page.reload()
    page.get_by_role("tab", name="Doctor").click()
    page.click("[data-remedy=caption]")
    expect(page.locator(".kg-tile")).to_have_count(2)
    expect(page.locator("[data-field=text]")).to_have_value("ohwx, ")


def test_what_is_shown_is_then_made(page: Page, gui: Gui) -> None:
    output = gui.workspace.parent / "prepared"
    page.get_by_role("tab", name="Prepare").click()
    expect(page.locator("#kg-prepare-make")).to_be_disabled()
    page.fill("#kg-prepare-output_dir", str(robots(gui) / "inside"))
    page.click("#kg-prepare-look")
    expect(page.locator("#kg-dataset-prepare [role=alert]")).to_contain_text("lie inside")
    page.fill("#kg-prepare-output_dir", str(output))
    page.fill("#kg-prepare-resolution", "64")
    page.locator("#kg-dataset-prepare summary").first.click()
    page.fill("#kg-prepare-min_bucket_reso", "64")
    page.click("#kg-prepare-look")
    shown = page.locator("[data-folder='pictures/5_ohwx robot']")
    expect(shown).to_contain_text("5 pictures × 5 repeats")
    assert not output.exists()
    page.click("#kg-prepare-make")
    expect(page.locator("#kg-dataset-prepare [data-ended=finished]")).to_contain_text("prepared")
    assert len(list((output / "pictures" / "5_ohwx robot").glob("*.png"))) == 5


def test_a_job_that_waits_is_followed_once_the_other_has_ended(page: Page, gui: Gui) -> None:
    other = make_run(gui.workspace, "other pictures", device=DEVICE)
    page.get_by_role("tab", name="Prepare").click()
    page.fill("#kg-prepare-output_dir", str(gui.workspace.parent / "waited"))
    page.click("#kg-prepare-look")
    waits = page.locator("#kg-dataset-prepare [data-queued]")
    expect(waits).to_contain_text("starts by itself when “other pictures” has ended")
    expect(page.locator("#kg-prepare-look")).to_be_disabled()  # or a second one would wait, too
    waits.get_by_role("button", name="Remove prepare").click()
    expect(page.locator("#kg-dataset-prepare [data-ended=gone]")).to_be_visible()
    page.click("#kg-prepare-look")
    expect(waits).to_be_visible()
    shutil.rmtree(other.path)  # nobody works there
    expect(page.locator("#kg-dataset-prepare [data-ended=finished]")).to_be_visible()
    expect(page.locator("[data-folder='pictures/5_ohwx robot']")).to_be_visible()
    expect(page.locator("#kg-prepare-make")).to_be_enabled()
