"""The main job from the browser: choose, start, watch, stop, and a LoRA file is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from safetensors import safe_open

from kohya_gui.settings import Settings, save_settings
from kohya_gui.workspace import open_workspace
from tests.support.jobs import draw_pictures
from tests.support.pages import Gui, Watched, chromium, running_gui
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = [pytest.mark.browser, pytest.mark.launch]
LONG_MS = 180_000


@pytest.fixture
def gui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gui]:
    files = tmp_path / "Größe 写真"
    files.mkdir()
    make_tiny_checkpoint("sd1", files / "tiny.safetensors")
    draw_pictures(files / "cats" / "3_mycat cat", 2)
    workspace = open_workspace(tmp_path / "work")
    save_settings(workspace, Settings(roots=(str(files),)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with running_gui(workspace.path) as served:
        yield served


def test_a_folder_of_pictures_becomes_a_lora(gui: Gui) -> None:
    with chromium() as browser:
        watched = Watched(browser.new_context(viewport={"width": 1280, "height": 900}))
        page = watched.open_form(gui.page("lora"))
        page.set_default_timeout(LONG_MS)
        chooser = page.locator("dialog.kg-chooser")
        page.click("#opt-pretrained_model_name_or_path .kg-browse")
        chooser.locator(".kg-entry", has_text="tiny.safetensors").click()
        chooser.locator(".kg-primary").click()
        page.click("#opt-train_data_dir .kg-browse")
        chooser.locator(".kg-entry", has_text="cats").click()
        expect(chooser.locator(".kg-entry", has_text="3_mycat cat")).to_be_visible(timeout=LONG_MS)
        chooser.locator(".kg-primary").click()
        page.click("[data-preset='3-quick-test']")
        expect(page.locator("#opt-learning_rate input")).to_have_value("0.0001", timeout=LONG_MS)
        page.fill("#opt-output_name input", "mycat")
        page.fill("#opt-max_train_steps input", "400")
        page.fill("#opt-sample_every_n_steps input", "2")
        page.fill("#extra-prompts textarea", "mycat cat --w 64 --h 64 --s 2 --d 1")
        expect(page.locator("[data-slot=actions]")).to_contain_text("press Start", timeout=LONG_MS)

        page.click("[data-act=check]")
        expect(page.locator("dialog [data-check]")).to_have_attribute(
            "data-check", "good", timeout=LONG_MS
        )
        expect(page.locator("dialog pre")).to_contain_text("mycat.safetensors")
        page.keyboard.press("Escape")

        page.click("#kg-start")
        page.wait_for_url("**/runs?run=mycat-*")
        expect(page.locator(".kg-thumb img").first).to_be_visible(timeout=LONG_MS)
        page.wait_for_function(
            "/loss/i.test(document.querySelector('canvas').getAttribute('aria-label'))"
            " && /smoothed \\d/.test(document.querySelector('canvas').getAttribute('aria-label'))"
        )

        # The page may go away: the run does not, and another page finds it.
        page.close()
        again = Watched(browser.new_context())
        page = again.page
        page.set_default_timeout(LONG_MS)
        page.goto(gui.page(""))
        page.locator("[data-job]").click()
        page.click("[data-ask=stop]")
        expect(page.locator("[data-state]")).to_have_attribute(
            "data-state", "stopped", timeout=LONG_MS
        )
        link = page.locator("a[download^=mycat][download$='.safetensors']").first
        with page.expect_download() as waiting:
            link.click()
        lora = Path(waiting.value.path())
        with safe_open(lora, framework="np") as file:
            names = list(file.keys())
            assert file.metadata()["ss_output_name"] == "mycat"
        assert any(name.endswith("lora_up.weight") for name in names)
        assert watched.errors == []
        assert again.errors == []
