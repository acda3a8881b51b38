"""The LoRA page in a real browser: choose, type, be told, save, and lose nothing on reload."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kohya_gui.settings import Settings, save_settings
from kohya_gui.workspace import open_workspace
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.schema import option_specs
from tests.importers.test_opening import write_lora
from tests.support.jobs import draw_pictures
from tests.support.pages import PATIENCE_MS, Gui, Watched, make_run, running_gui
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)

SPILLING = """() => [...document.querySelectorAll(".kg-option .kg-inert, .kg-option .kg-troubles")]
  .map((told) => [told.getBoundingClientRect(), told.closest(".kg-option")])
  .filter(([at, field]) => at.height && at.bottom > field.getBoundingClientRect().bottom + 1)
  .map(([, field]) => field.id)"""
"""The fields whose notes reach out of them."""


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    folder = tmp_path_factory.mktemp("form")
    files = folder / "files"
    files.mkdir()
    make_tiny_checkpoint("sd1", files / "tiny.safetensors")
    draw_pictures(files / "cats" / "3_mycat cat", 2)
    workspace = open_workspace(folder / "work")
    save_settings(workspace, Settings(roots=(str(files),)))
    with running_gui(workspace.path) as served:
        yield served


@pytest.fixture
def form(watched: Watched, gui: Gui) -> Page:
    return watched.open_form(gui.page("lora"))


def files(gui: Gui) -> Path:
    return gui.workspace.parent / "files"


def field(page: Page, option: str) -> str:
    return page.locator(f"#opt-{option} input, #opt-{option} textarea").first.input_value()


def test_every_option_has_a_control_with_its_name_and_help(form: Page) -> None:
    for spec in option_specs(TrainNetworkJob):
        block = form.locator(f"#opt-{spec.name}")
        assert block.count() == 1
        assert block.locator("input, textarea").count() >= 1
        info = block.locator(".info-text").inner_text() if block.is_visible() else spec.name
        assert spec.name in info


def test_model_and_pictures_are_chosen_and_steps_follow_the_numbers(form: Page, gui: Gui) -> None:
    form.click("#opt-pretrained_model_name_or_path .kg-browse")
    dialog = form.locator("dialog.kg-chooser")
    dialog.locator(".kg-entry", has_text="tiny.safetensors").click()
    dialog.locator(".kg-primary").click()
    expect(form.locator("[data-slot=family]")).to_contain_text("SD 1.x")
    assert field(form, "pretrained_model_name_or_path") == str(files(gui) / "tiny.safetensors")
    form.click("#opt-train_data_dir .kg-browse")
    dialog.locator(".kg-entry", has_text="cats").click()
    expect(dialog.locator(".kg-entry")).to_have_text(["3_mycat cat2 pictures"])
    dialog.locator(".kg-primary").click()
    expect(form.locator("[data-headline]")).to_contain_text("2 pictures, shown 6 times")
    assert field(form, "train_data_dir") == str(files(gui) / "cats")
    fix = form.locator("#opt-caption_extension [data-fix]")
    fix.click()
    expect(form.locator("#opt-caption_extension.kg-wrong")).to_have_count(0)
    assert field(form, "caption_extension") == ".txt"
    form.fill("#opt-max_train_epochs input", "5")
    expect(form.locator("[data-steps]")).to_have_attribute("data-steps", "30")
    form.fill("#opt-max_train_epochs input", "6")
    expect(form.locator("[data-steps]")).to_have_attribute("data-steps", "36")
    form.locator("[data-slot=steps] button").click()
    expect(form.locator("#opt-max_train_epochs input")).to_have_value("33")


def test_the_chooser_works_with_keys_alone(form: Page, gui: Gui) -> None:
    button = form.locator("#opt-train_data_dir .kg-browse")
    button.focus()
    form.keyboard.press("Enter")
    dialog = form.locator("dialog.kg-chooser")
    expect(dialog.locator(".kg-entry").first).to_be_visible()
    form.keyboard.press("ArrowDown")
    form.keyboard.press("Enter")
    expect(dialog.locator(".kg-chosen")).to_have_text(str(files(gui) / "cats"))
    form.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    assert field(form, "train_data_dir") == ""


def test_what_is_wrong_is_told_at_its_field_as_one_types(form: Page) -> None:
    form.fill("#opt-learning_rate input", "fast")
    block = form.locator("#opt-learning_rate")
    expect(block.locator(".kg-troubles")).to_contain_text("not a number")
    expect(block.locator("input")).to_have_attribute("aria-invalid", "true")
    expect(form.locator("[data-slot=side] [data-problem=learning_rate]")).to_be_visible()
    form.fill("#opt-learning_rate input", "1e-4")
    expect(block.locator(".kg-troubles .kg-bad")).to_have_count(0)
    expect(block.locator("input")).to_have_attribute("aria-invalid", "false")


def test_a_beginner_is_not_greeted_with_errors_but_told_what_is_next(form: Page) -> None:
    expect(form.locator(".kg-wrong")).to_have_count(0)
    expect(form.locator("[data-slot=actions]")).to_contain_text("choose the model")
    form.click("#kg-start")
    expect(form.locator("[data-slot=notice]")).to_contain_text("To be mended first")
    expect(form.locator("#opt-pretrained_model_name_or_path.kg-wrong")).to_be_visible()
    expect(form.locator("#kg-start")).to_be_enabled()


def test_a_preset_is_applied_and_undone(form: Page) -> None:
    form.fill("#opt-output_name input", "mine")
    form.click("[data-preset='1-sd15']")
    expect(form.locator("#opt-learning_rate input")).to_have_value("0.0001")
    expect(form.locator("#opt-enable_bucket input")).to_be_checked()
    assert field(form, "output_name") == "mine"
    form.locator("[data-slot=notice] button", has_text="Undo").click()
    expect(form.locator("#opt-learning_rate input")).to_have_value("2e-6")
    assert field(form, "output_name") == "mine"


def test_options_that_are_drawn_later_come_when_asked_for_and_keep_their_values(
    watched: Watched, gui: Gui
) -> None:
    ready = "document.documentElement.dataset.kgReady === 'form'"
    page = watched.page
    page.goto(gui.page("lora"))
    page.wait_for_function(ready)
    page.click("[data-tier=expert]")
    every_option = len(option_specs(TrainNetworkJob)) + 1
    expect(page.locator(".kg-option:visible")).to_have_count(every_option)
    page.fill("#opt-huber_c input", "0.3")
    expect(page.locator("#opt-huber_c.kg-changed")).to_be_visible()
    page.reload()
    expect(page.locator(".kg-option:visible")).to_have_count(every_option)
    page.click("[data-tier=basic]")
    page.reload()
    page.wait_for_function(ready)
    page.fill("#opt-output_name input", "early")  # before the other one is drawn
    expect(page.locator("#opt-output_name.kg-changed")).to_be_visible()
    page.reload()
    watched.wait_for_form()
    assert (field(page, "huber_c"), field(page, "output_name")) == ("0.3", "early")
    assert watched.errors == []


def test_search_tiers_and_only_changed(form: Page) -> None:
    """And with every option there is, the form is no wider than the screen, and nothing that is
    told at a field lies on the next one."""
    visible = form.locator(".kg-option:visible")
    form.click("[data-tier=basic]")
    basic = visible.count()
    form.click("[data-tier=expert]")
    assert visible.count() == len(option_specs(TrainNetworkJob)) + 1
    for width in (390, 1280):
        form.set_viewport_size({"width": width, "height": 900})
        assert form.evaluate("document.documentElement.scrollWidth") <= width
        expect(form.locator("#opt-algo .kg-inert")).to_be_visible()
        assert form.evaluate(SPILLING) == []
    form.click("[data-tier=basic]")
    assert visible.count() == basic
    form.fill("#kg-search", "huber")
    expect(form.locator("#opt-huber_c")).to_be_visible()
    expect(form.locator("#opt-output_name")).to_be_hidden()
    form.fill("#kg-search", "")
    form.fill("#opt-output_name input", "mine")
    expect(form.locator("#opt-output_name.kg-changed")).to_be_visible()
    form.check("#kg-only-changed")
    expect(form.locator("#opt-output_name")).to_be_visible()
    assert visible.count() == 1
    form.locator("#opt-output_name .kg-reset").click()
    expect(form.locator("#opt-output_name input")).to_have_value("")


def test_a_reload_loses_nothing_and_a_new_tab_has_its_own(
    watched: Watched, form: Page, gui: Gui
) -> None:
    form.fill("#opt-output_name input", "mine")
    form.fill("#extra-prompts textarea", "a cat 犬 --d 1")
    form.check("#opt-shuffle_caption input")
    expect(form.locator("[data-slot=side]")).to_contain_text("mine")
    form.reload()
    watched.wait_for_form()
    expect(form.locator("#opt-output_name input")).to_have_value("mine")
    expect(form.locator("#extra-prompts textarea")).to_have_value("a cat 犬 --d 1")
    expect(form.locator("#opt-shuffle_caption input")).to_be_checked()
    other = Watched(form.context)
    page = other.open_form(gui.page("lora"))
    expect(page.locator("#opt-output_name input")).to_have_value("mine")
    page.fill("#opt-output_name input", "theirs")
    expect(page.locator("[data-slot=side]")).to_contain_text("theirs")
    form.reload()
    watched.wait_for_form()
    expect(form.locator("#opt-output_name input")).to_have_value("mine")
    assert other.errors == []


def test_a_restart_of_the_program_loses_nothing(watched: Watched, form: Page, gui: Gui) -> None:
    form.fill("#opt-output_name input", "kept")
    expect(form.locator("[data-slot=side]")).to_contain_text("kept")
    gui.stop()
    gui.start()
    form.reload()
    watched.wait_for_form()
    expect(form.locator("#opt-output_name input")).to_have_value("kept")
    watched.errors.clear()  # the browser tells of requests that met no server


def test_what_will_run_is_shown_saved_and_opened_again(
    watched: Watched, form: Page, gui: Gui, tmp_path: Path
) -> None:
    form.fill("#opt-pretrained_model_name_or_path input", str(files(gui) / "tiny.safetensors"))
    form.fill("#opt-train_data_dir input", str(files(gui) / "cats"))
    form.fill("#opt-output_name input", "saved one")
    form.fill("#opt-learning_rate input", "0.0003")
    form.click("[data-act=show]")
    dialog = form.locator("dialog")
    expect(dialog).to_contain_text("learning_rate = 0.0003")
    expect(dialog).to_contain_text("sd_scripts.train_network")
    with form.expect_download() as waiting:
        dialog.locator("button", has_text="Download").click()
    downloaded = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(downloaded)
    assert "learning_rate = 0.0003" in downloaded.read_text("utf-8")
    form.keyboard.press("Escape")
    form.click("[data-act=save]")
    expect(form.locator("[data-slot=notice]")).to_contain_text("saved one.toml")
    form.fill("#opt-learning_rate input", "0.5")
    form.set_input_files("[data-open-file]", downloaded)
    expect(form.locator("#opt-learning_rate input")).to_have_value("0.0003")
    downloaded.write_text("learning_rat = 1\nseed = 5\n")
    form.set_input_files("[data-open-file]", downloaded)
    expect(form.locator("[data-slot=notice]")).to_contain_text("learning_rate")
    form.click("[data-tier=expert]")
    expect(form.locator("#opt-seed input")).to_have_value("5")


def test_the_form_and_its_text_follow_each_other(form: Page) -> None:
    form.click("[data-preset='1-sd15']")
    form.click("[data-toml-toggle]")
    text = form.locator("#kg-toml")
    expect(text).to_have_value(re.compile("learning_rate = 0.0001"))
    expect(form.locator("#kg-toml-against")).to_have_value("preset:1-sd15")
    text.fill("learning_rat = 1\nnetwork_dim = 64\nseed = 5\n")
    expect(form.locator("[data-toml-problem=learning_rat]")).to_contain_text("learning_rate")
    expect(form.locator("#opt-network_dim input")).to_have_value("64")
    text.fill("seed = = 5")
    expect(form.locator("#kg-toml-problems")).to_contain_text("not valid TOML")
    expect(form.locator("#opt-seed input")).to_have_value("5")
    text.fill("network_dim = 32\n")
    expect(form.locator("#kg-toml-problems p")).to_have_count(0)
    expect(form.locator("#opt-network_dim input")).to_have_value("32")
    form.locator("[data-differs=network_dim] td button").last.click()
    expect(form.locator("#opt-network_dim input")).to_have_value("16")
    expect(text).to_have_value(re.compile("network_dim = 16"))
    expect(form.locator("[data-differs=network_dim]")).to_have_count(0)


def test_a_conflict_is_marked_at_both_fields_with_ways_out(form: Page) -> None:
    form.click("[data-tier=expert]")
    form.check("#opt-cache_text_encoder_outputs input")
    form.check("#opt-network_train_unet_only input")
    form.check("#opt-shuffle_caption input")
    cached, shuffled = (
        form.locator(f"#opt-{name}") for name in ("cache_text_encoder_outputs", "shuffle_caption")
    )
    expect(shuffled.locator("[data-other=cache_text_encoder_outputs]")).to_be_visible()
    expect(cached.locator("[data-other=shuffle_caption]")).to_be_visible()
    shuffled.locator("[data-fix=cache_text_encoder_outputs]").click()
    expect(cached.locator("input")).not_to_be_checked()
    expect(shuffled.locator(".kg-troubles [data-other]")).to_have_count(0)
    shuffled.locator(".kg-ask").click()
    expect(shuffled.locator(".kg-help")).to_contain_text("Default")


def test_old_settings_are_told_of_before_they_fill_the_form(form: Page, tmp_path: Path) -> None:
    settings = tmp_path / "old.json"
    settings.write_text('{"LoRA_type": "Standard", "network_dim": "24", "epoch": 8, "nonsense": 1}')
    form.set_input_files("[data-open-file]", settings)
    dialog = form.locator("dialog")
    expect(dialog.locator("[data-fate=changed]")).to_contain_text("max_train_epochs")
    expect(dialog.locator("[data-fate=unknown]")).to_contain_text("nonsense")
    assert field(form, "network_dim") == ""
    dialog.locator("[data-fill]").click()
    expect(form.locator("#opt-network_dim input")).to_have_value("24")
    expect(dialog).to_have_count(0)
    lora = write_lora(tmp_path / "mine.safetensors")
    form.set_input_files("[data-open-file]", lora)
    dialog.locator("[data-fill]").click()
    expect(form.locator("#opt-network_dim input")).to_have_value("8")
    settings.write_text('{"LoRA_type": "Standard", "flux1_checkbox": true}')
    form.set_input_files("[data-open-file]", settings)
    expect(dialog.locator("[data-refused]")).to_contain_text("FLUX.1")
    expect(dialog.locator("[data-fill]")).to_have_count(0)


def test_a_second_start_waits_in_the_queue_and_can_be_taken_back(
    watched: Watched, gui: Gui
) -> None:
    run = make_run(gui.workspace, "other")
    try:
        form = watched.open_form(gui.page("lora"))
        expect(form.locator("#kg-start")).to_have_text("Add to the queue")
        expect(form.locator("[data-slot=actions]")).to_contain_text("“other” is running")
        form.fill("#opt-pretrained_model_name_or_path input", str(files(gui) / "tiny.safetensors"))
        form.fill("#opt-train_data_dir input", str(files(gui) / "cats"))
        form.fill("#opt-caption_extension input", ".txt")
        form.fill("#opt-output_name input", "the second")
        expect(form.locator("[data-headline]")).to_be_visible()
        form.click("#kg-start")
        expect(form.locator("[data-slot=notice]")).to_contain_text("next in the queue")
        form.goto(gui.page("runs"))
        waiting = form.locator(".kg-queue li")
        expect(waiting).to_have_count(1)
        expect(waiting).to_contain_text("the second")
        waiting.locator("button", has_text="Remove").click()
        form.locator("dialog .kg-danger").click()
        expect(waiting).to_have_count(0)
    finally:
        run.run_json.unlink()
        run.events.unlink()
        run.config.unlink()


def test_settings_of_a_run_fill_the_form_once(watched: Watched, gui: Gui) -> None:
    run = make_run(gui.workspace, "earlier", alive=False)
    run.config.write_text('output_name = "earlier"\nnetwork_dim = 12\n')
    form = watched.open_form(gui.page(f"lora?from={run.id}"))
    expect(form.locator("#opt-network_dim input")).to_have_value("12")
    expect(form.locator("[data-slot=notice]")).to_contain_text("earlier")
    form.fill("#opt-output_name input", "later")
    expect(form.locator("[data-slot=side]")).to_contain_text("later")
    form.reload()
    watched.wait_for_form()
    expect(form.locator("#opt-output_name input")).to_have_value("later")
