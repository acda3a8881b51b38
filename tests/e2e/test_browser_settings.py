"""Settings, tools and the switch of the language, in a real browser, with one GUI."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from kohya_gui.jobs.vault import PASSWORD, WANDB_KEY
from kohya_gui.locales import available_languages, load_texts
from kohya_gui.locales.speaking import COOKIE
from kohya_gui.pages.registry import PAGES
from kohya_gui.pages.shell import Page as Described
from kohya_gui.workspace import open_workspace
from sd_scripts.files import write_atomic
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES
from tests.support.pages import PATIENCE_MS, Gui, Watched, make_run, running_gui
from tests.support.painting import write_lora
from tests.support.patience import eventually

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)
SWITCHED: Final = ("", "teach", "pictures", "lora", "runs", "settings")
"""A page of each kind."""


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    workspace = open_workspace(tmp_path_factory.mktemp("settings") / "work")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHON_KEYRING_BACKEND", "tests.support.rings.InMemory")
        patched.delenv(WANDB_KEY, raising=False)
        with running_gui(workspace.path) as served:
            yield served


def kept(gui: Gui) -> dict[str, Any]:
    """Return the settings that lie on the disk."""
    try:
        data: dict[str, Any] = json.loads((gui.workspace / "settings.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return data


def opened(page: Page, gui: Gui) -> Page:
    """Open the settings and wait until they are filled in."""
    page.goto(gui.page("settings"))
    expect(page.locator("#setting-num-processes input")).to_have_value(re.compile("[1-9]"))
    return page


def holds(page: Page, folder: Path) -> None:
    """Check what `test_settings_hold` set."""
    expect(page.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    expect(page.locator("[data-theme-choice=dark]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#setting-tier input[value=expert]")).to_be_checked()
    expect(page.locator("#setting-roots textarea")).to_have_value(str(folder))
    expect(page.locator("#setting-when-busy input[value=refuse]")).to_be_checked()
    expect(page.locator("#setting-allow-hub input")).to_be_checked()
    expect(page.locator("#setting-webhook").locator("input, textarea")).to_have_value(
        "http://127.0.0.1:9/hook"
    )
    expect(page.locator("#setting-num-processes input")).to_have_value("2")
    expect(page.locator("[data-notify]")).to_be_checked()
    expect(page.locator("#setting-language input")).to_have_value("Français")


def test_settings_hold(watched: Watched, gui: Gui, tmp_path: Path) -> None:
    """Everything the page offers survives a reload and a new start of the program."""
    watched.page.context.grant_permissions(["notifications"], origin=gui.address)
    page = opened(watched.page, gui)
    page.locator("[data-theme-choice=dark]").click()
    page.locator("#setting-tier input[value=expert]").check()
    page.locator("#setting-when-busy input[value=refuse]").check()
    page.locator("#setting-allow-hub input").check()
    page.locator("#setting-webhook").locator("input, textarea").fill("http://127.0.0.1:9/hook")
    page.locator("#setting-num-processes input").fill("2")
    page.locator("[data-notify]").check()
    page.locator("#setting-language input").click()
    page.locator("#setting-language").get_by_role("option", name="Français").click()
    # A folder that is not there is refused by name, and nothing is half kept.
    page.locator("#setting-roots textarea").fill(str(tmp_path / "nowhere"))
    page.locator("#setting-save").click()
    expect(page.locator("#setting-said")).to_contain_text("nowhere")
    assert kept(gui) == {}
    folder = tmp_path / "Bilder ü"
    folder.mkdir()
    page.locator("#setting-roots textarea").fill(str(folder))
    page.locator("#setting-save").click()
    expect(page.locator("#setting-said .kg-good")).to_be_visible()
    assert kept(gui)["roots"] == [str(folder)]
    # Nothing listens there: the test message says so.
    page.locator("[data-webhook-test]").click()
    expect(page.locator("#kg-notify .kg-bad")).to_be_visible()
    holds(opened(page, gui), folder)
    page.goto("about:blank")
    gui.stop()
    gui.start()
    holds(opened(page, gui), folder)
    # The file chooser of a form stays in the folder that was named.
    watched.open_form(gui.page("lora"))
    page.locator("#opt-train_data_dir .kg-browse").click()
    expect(page.locator("dialog[open]")).to_contain_text("Bilder ü")
    page.keyboard.press("Escape")
    # What new forms begin with is listed, and removed after one question that says what is lost.
    page.locator("#opt-network_dim").locator("input, textarea").fill("24")
    page.locator("[data-act=begin_with]").click()
    assert eventually(lambda: bool(kept(gui)["page_defaults"]))
    page = opened(page, gui)
    row = page.locator("[data-job=train_network]")
    row.get_by_role("button").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("li", has_text="network_dim")).to_contain_text("24")
    dialog.locator("button.kg-danger").click()
    expect(row).to_have_count(0)
    assert kept(gui)["page_defaults"] == {}
    # A login is offered with a password that nobody else has.
    first = page.locator("#kg-login pre").inner_text()
    assert re.search(r"KOHYA_GUI_PASSWORD=\w{16} ", first)
    page.locator("#kg-login button").last.click()
    expect(page.locator("#kg-login pre")).not_to_have_text(first)
    page.locator("[data-theme-choice=light]").click()
    expect(page.locator("body")).not_to_have_class(re.compile(r"\bdark\b"))


def test_of_two_tabs_with_one_setting_the_later_is_told_and_decides(
    watched: Watched, gui: Gui
) -> None:
    """Also where the secrets come from stands there, and no secret."""
    mine = opened(watched.page, gui)
    theirs = opened(watched.page.context.new_page(), gui)
    ports = "#setting-main-process-port input"
    for page, port in ((theirs, "29501"), (mine, "29502")):
        page.locator(ports).fill(port)
        page.locator("#setting-save").click()
        expect(page.locator("#setting-said .kg-note")).to_be_visible()
    expect(theirs.locator("#setting-said .kg-good")).to_be_visible()
    expect(mine.locator("#setting-said .kg-bad")).to_be_visible()
    expect(mine.locator(ports)).to_have_value("29502")
    assert kept(gui)["processes"]["main_process_port"] == 29501
    mine.locator("#setting-save").click()
    expect(mine.locator("#setting-said .kg-good")).to_be_visible()
    assert kept(gui)["processes"]["main_process_port"] == 29502
    theirs.close()
    rows = mine.locator("#kg-secrets li")
    expect(rows).to_have_count(4)
    expect(rows.filter(has_text="WANDB_API_KEY")).to_be_visible()


def test_a_secret_is_kept_in_the_keyring_and_forgotten(watched: Watched, gui: Gui) -> None:
    watched.page.context.add_cookies([{"name": COOKIE, "value": "en", "url": gui.address}])
    page = opened(watched.page, gui)
    row = page.locator(f"[data-secret={WANDB_KEY}]")
    row.locator("input").fill("canary-of-a-secret")
    row.locator("input").press("Enter")
    expect(page.locator("#kg-secrets .kg-good")).to_be_visible()
    expect(row.locator("input")).to_have_value("")
    page.get_by_role("button", name="See which are kept").click()
    expect(row).to_have_attribute("data-where", "keyring")
    expect(page.locator(f"[data-secret={PASSWORD}]")).to_have_attribute("data-where", "none")
    assert "canary-of-a-secret" not in page.content()
    row.get_by_role("button", name="Forget").click()
    page.locator("dialog[open]").get_by_role("button", name="Forget").click()
    expect(page.locator("#kg-secrets .kg-good")).to_contain_text("Taken out")
    page.get_by_role("button", name="See which are kept").click()
    expect(row).to_have_attribute("data-where", "none")


def spoken(page: Page, described: Described, language: str) -> None:
    """Check that a page speaks a language, and names its options as ever."""
    texts = load_texts(language)
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator(".kg-nav .kg-link").first).to_have_text(texts("nav.start"))
    expect(page.locator("[data-languages]")).to_have_value(language)
    if described.path in ("lora", "dreambooth", "fine-tune", "textual-inversion"):
        name = page.locator("#opt-pretrained_model_name_or_path code")
        expect(name).to_have_text("pretrained_model_name_or_path")
        label = texts("option.pretrained_model_name_or_path.label")
        expect(page.locator("#opt-pretrained_model_name_or_path")).to_contain_text(label)


def test_the_language_is_switched_from_any_page(watched: Watched, gui: Gui) -> None:
    """To each language once, from another page; `test_speaking.py` finds the choice on all."""
    page = watched.page
    languages = [code for code in available_languages() if code != "en"]
    places = [described for described in PAGES if described.path in SWITCHED]
    assert len(places) >= len(languages)
    for described, language in zip(places, languages, strict=False):
        page.goto(gui.page(described.path))
        expect(page.locator("[data-languages] option").first).to_be_attached()
        with page.expect_navigation():
            page.locator("[data-languages]").select_option(language)
        spoken(page, described, language)
        assert page.url.removeprefix(f"{gui.address}/") == described.path
    # The choice is this browser's: the next page speaks it, another browser's asks for its own.
    page.goto(gui.page("tools"))
    spoken(page, PAGES[-2], language)


def test_tools_do_what_they_say(watched: Watched, gui: Gui) -> None:
    page = watched.page
    small = gui.workspace / "thumbnails" / "one.webp"
    small.parent.mkdir(exist_ok=True)
    small.write_bytes(b"x" * 5000)
    page.goto(gui.page("tools"))
    row = page.locator("[data-place=thumbnails]")
    expect(row).to_contain_text("5.0 KB")
    row.get_by_role("button").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("5.0 KB")
    dialog.locator("button.kg-danger").click()
    expect(row).to_contain_text("0 B")
    assert not small.exists()
    page.locator("[data-examine]").click()
    expect(page.locator("[data-doctor] table")).to_contain_text("PyTorch")


@pytest.fixture
def trained(gui: Gui) -> Path:
    """A training of the starter that saved a DyLoRA; its pictures are three of the robot."""
    pictures = gui.workspace / "pictures" / "1_robot"
    pictures.mkdir(parents=True)
    for file in sorted((STARTER_PICTURES / "robot").glob("0[1-3].*")):
        shutil.copy(file, pictures)
    run = make_run(gui.workspace, "robot", alive=False)
    values = {
        "pretrained_model_name_or_path": STARTER_MODEL.as_posix(),
        "train_data_dir": pictures.parent.as_posix(),
        "resolution": "128",
        "caption_extension": ".txt",
        "network_dim": 2,
    }
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    write_atomic(run.config, "".join(lines))
    saved = run.output / "robot.safetensors"
    return write_lora(saved, STARTER_MODEL, "sd1", metadata={"ss_network_module": "dylora"})


def test_tools_work_as_jobs(watched: Watched, gui: Gui, trained: Path) -> None:
    page = watched.page
    page.context.add_cookies([{"name": COOKIE, "value": "en", "url": gui.address}])
    page.goto(gui.page("tools"))
    page.locator("#kg-rank-file").select_option(label="robot.safetensors")
    page.locator("#kg-rank-start").click()
    expect(page.locator("#kg-rank-start")).to_be_disabled()
    # The job is found again after a reload, and goes on to its result.
    expect(page.locator("#kg-tool-jobs .kg-progress")).to_be_visible()
    page.reload()
    expect(page.locator("[data-ranked] tbody tr")).to_have_count(3)
    expect(page.locator("[data-ranked] tbody img").first).to_be_visible()
    names = page.locator(".kg-job-field", has=page.locator("#kg-slice-unit")).locator("code")
    expect(names).to_have_text(["unit", "unit", "network_args"])
    page.locator("#kg-slice-model").fill(str(trained))
    page.locator("#kg-slice-unit").fill("3")
    page.locator("#kg-slice-start").click()
    expect(page.locator("#kg-tool-jobs [role=alert]")).to_contain_text("2 is no multiple of unit 3")
    page.locator("#kg-slice-unit").fill("1")
    page.locator("#kg-slice-start").click()
    expect(page.locator("[data-slices] li")).to_have_text(
        [re.compile(r"^robot-0001\.safetensors"), re.compile(r"^robot-0002\.safetensors")]
    )


def test_a_long_name_leaves_the_bar_as_it_is(browser: Browser, gui: Gui) -> None:
    run = make_run(gui.workspace, "a-very-long-name-of-a-run-" * 4)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(gui.page("tools"))
    chip = page.locator("[data-job]")
    expect(chip).to_contain_text("30%")
    box, rest = chip.bounding_box(), chip.locator(".kg-fixed").bounding_box()
    assert box is not None
    assert rest is not None
    assert box["width"] <= 240
    assert rest["x"] + rest["width"] <= box["x"] + box["width"]
    assert run.path.name.startswith(str(chip.get_attribute("title"))[:40])
    context.close()
