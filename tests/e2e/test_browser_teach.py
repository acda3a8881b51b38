"""The guided page in a real browser: an empty workspace to a picked LoRA, failure, two tabs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kohya_gui.guided.project import Projects
from kohya_gui.jobs.store import RunStore
from kohya_gui.jobs.try_worker import TryWorker
from kohya_gui.workspace import open_workspace
from sd_scripts.errors import Problem
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.shipped import STARTER_PICTURES
from tests.support.axe import violations
from tests.support.pages import (
    PATIENCE_MS,
    Gui,
    Watched,
    add_sample,
    add_save,
    make_run,
    running_gui,
    tab_to,
)
from tests.support.patience import eventually

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)
LONG_MS = 10 * PATIENCE_MS


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    workspace = open_workspace(tmp_path_factory.mktemp("teach") / "work")
    with running_gui(workspace.path) as served:
        yield served
    TryWorker(workspace, RunStore(workspace)).unload()


def at_step(page: Page, name: str) -> None:
    expect(page.locator(f"[data-now={name}]")).to_be_visible()


def next_step(page: Page, name: str) -> None:
    expect(page.locator("#kg-teach-next")).to_be_enabled()
    page.click("#kg-teach-next")
    at_step(page, name)


def test_from_an_empty_workspace_to_a_picked_lora(watched: Watched, gui: Gui) -> None:
    page = watched.page
    page.goto(gui.page(""))
    expect(page.locator("#kg-start-try")).to_be_visible()
    page.click(".kg-door.kg-primary")
    page.click("[data-goal=object]")
    at_step(page, "pictures")
    files = sorted((STARTER_PICTURES / "robot").iterdir())[:8]
    page.set_input_files(".kg-upload-file", files)
    expect(page.locator(".kg-teach-tiles img")).to_have_count(4)
    expect(page.locator("#kg-teach-verdict")).to_contain_text("4 pictures are used")
    page.locator(".kg-teach-tiles li button").first.click()
    expect(page.locator("[data-tone=out]")).to_have_count(1)
    page.locator("[data-tone=out] button").click()
    expect(page.locator("[data-tone=out]")).to_have_count(0)
    page.reload()
    at_step(page, "pictures")
    next_step(page, "words")
    expect(page.locator("#kg-teach-word")).to_have_value("zwx")
    page.fill("#kg-teach-kind", "robot")
    page.fill("#kg-teach-word", "dog")
    expect(page.locator("#kg-teach-reading")).to_have_attribute("data-tone", "warn")
    page.fill("#kg-teach-word", "zwx")
    expect(page.locator("#kg-teach-reading")).to_have_attribute("data-tone", "good")
    caption = page.locator(".kg-teach-captions textarea").first
    caption.fill("a zwx robot in red")
    next_step(page, "ready")
    page.get_by_role("radio", name="The small model").click()
    expect(page.locator("[data-card=quick]")).to_have_attribute("data-fits", "true")
    page.click("[data-card=quick]")
    expect(page.locator("[data-card=quick]")).to_have_attribute("aria-checked", "true")
    page.click("#kg-teach-start")
    at_step(page, "watch")
    page.reload()
    expect(page.locator("#kg-teach-next")).to_be_enabled(timeout=LONG_MS)
    page.click("[data-ask=stop]")
    expect(page.locator("[data-state=stopped]")).to_be_visible(timeout=LONG_MS)
    expect(page.locator(".kg-matrix tbody tr").last).to_contain_text("without the word")
    next_step(page, "pick")
    store = RunStore(open_workspace(gui.workspace))
    assert eventually(lambda: not any(run.busy for run in store.list()))  # else it is not disturbed
    page.fill("#kg-teach-prompt", "a zwx robot")
    page.locator("#kg-teach-strength").fill("0.8")
    page.click("#kg-teach-paint")
    painted = page.locator("#kg-teach-own img")
    results = page.locator("[data-pick]").count()
    expect(painted).to_have_count(results + 1, timeout=LONG_MS)
    page.reload()
    expect(painted).to_have_count(results + 1)
    expect(page.locator("#kg-teach-own")).to_contain_text("0.8")
    page.locator("[data-pick]").last.click()
    expect(page.locator("#kg-teach-picked")).to_contain_text("zwx robot")
    kept = list((gui.workspace / "results").glob("*.safetensors"))
    assert len(kept) == 1
    page.click("[data-fault=weak]")
    page.click("#kg-teach-apply")
    at_step(page, "ready")
    folder = Path(Projects(open_workspace(gui.workspace)).list()[0].folder)
    texts = [file.read_text("utf-8") for file in sorted(folder.glob("*.txt"))]
    assert texts[0].strip() == "a zwx robot in red"
    assert texts[1] == files[3].read_text("utf-8")


def test_a_failure_is_told_in_its_step_with_the_way_back(watched: Watched, gui: Gui) -> None:
    workspace = open_workspace(gui.workspace)
    run = make_run(gui.workspace, "mycat", alive=False)
    add_sample(run, 0, 0, "a photo of zwx")
    problem = Problem("There is no memory left.", "train_batch_size", "Set it to 1.")
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="failed", reason="It ran out.", problems=(problem,)))
    project = Projects(workspace).new(
        step="watch", run=run.id, folder=str(run.path), trigger="zwx", name="mycat"
    )
    page = watched.page
    page.goto(gui.page(f"teach?project={project.id}"))
    expect(page.locator("#kg-teach-failed")).to_contain_text("There is no memory left.")
    expect(page.locator("#kg-teach-next")).to_be_disabled()
    page.click("#kg-teach-again")
    at_step(page, "ready")


def test_the_tab_that_writes_last_is_told(watched: Watched, gui: Gui) -> None:
    projects = Projects(open_workspace(gui.workspace))
    project = projects.new(step="pictures", goal="style")
    page = watched.page
    page.goto(gui.page(f"teach?project={project.id}"))
    at_step(page, "pictures")
    projects.change(project.id, {"name": "from elsewhere", "step": "goal"})
    page.locator("[data-step=goal]").click()
    expect(page.locator(".kg-note.kg-warn").first).to_contain_text("another window")
    at_step(page, "goal")
    page.click("[data-goal=person]")
    at_step(page, "pictures")
    kept = projects.load(project.id)
    assert kept is not None
    assert (kept.goal, kept.name) == ("person", "from elsewhere")


def press(page: Page, selector: str) -> None:
    """Go to a control by Tab and press it."""
    tab_to(page, selector)
    page.keyboard.press("Enter")


def told_of_step(page: Page, name: str) -> None:
    """A new step has the focus on its question, and axe finds nothing wrong with it."""
    at_step(page, name)
    expect(page.locator(f"[data-now={name}] h2").first).to_be_focused()
    assert violations(page) == []


def test_by_keyboard_alone_with_captions_and_a_new_start_of_the_gui(
    watched: Watched, gui: Gui
) -> None:
    page = watched.page
    page.goto(gui.page("teach"))
    at_step(page, "goal")
    assert violations(page) == []
    press(page, "[data-goal=object]")
    told_of_step(page, "pictures")
    tab_to(page, ".kg-upload-file")
    files = sorted((STARTER_PICTURES / "robot").glob("*.png"))[:4]
    page.set_input_files(".kg-upload-file", files)  # the system's own dialog
    expect(page.locator(".kg-teach-tiles img")).to_have_count(4)
    expect(page.locator("#kg-teach-verdict")).to_contain_text("4 pictures are used")
    assert violations(page) == []
    press(page, "#kg-teach-next")
    told_of_step(page, "words")
    expect(page.locator("#kg-teach-counted")).to_have_attribute("data-missing", "4")
    # The GUI is ended and started again: the page goes on at its step.
    address = page.url
    page.goto("about:blank")
    gui.stop()
    gui.start()
    page.goto(address)
    at_step(page, "words")
    tab_to(page, "#kg-teach-word")
    page.keyboard.press("Control+a")
    page.keyboard.type("zwx")
    tab_to(page, "#kg-teach-engine")
    page.keyboard.press("End")
    expect(page.locator("#kg-teach-engine")).to_have_value("tags")
    press(page, "#kg-teach-caption")
    expect(page.locator("#kg-teach-counted")).to_have_attribute("data-missing", "0")
    expect(page.locator(".kg-teach-captions textarea").first).to_have_value(
        re.compile("background")
    )
    assert violations(page) == []
    press(page, "#kg-teach-next")
    told_of_step(page, "ready")
    tab_to(page, "[role=radio]")
    page.keyboard.press("Enter")
    expect(page.locator("[data-card=quick]")).to_be_visible()
    expect(page.locator(".kg-teach-models [aria-checked=true]")).to_be_focused()
    press(page, "[data-card=quick]")
    expect(page.locator("[data-card=quick][aria-checked=true]")).to_be_focused()
    assert violations(page) == []
    expect(page.locator("#kg-teach-start")).to_be_enabled()
    tab_to(page, "#kg-teach-start")


@pytest.mark.parametrize(("step", "drawn"), [("watch", "img"), ("pick", "[data-pick]")])
def test_the_last_steps_keep_nobody_out(watched: Watched, gui: Gui, step: str, drawn: str) -> None:
    run = make_run(gui.workspace, f"done-{step}", alive=False)
    add_sample(run, 10, 0, "a photo of zwx")
    add_save(run, 30)
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="finished", reason="All done."))
    project = Projects(open_workspace(gui.workspace)).new(
        step=step, run=run.id, folder=str(run.path), trigger="zwx", name="mycat"
    )
    page = watched.page
    page.goto(gui.page(f"teach?project={project.id}"))
    at_step(page, step)
    expect(page.locator(f"[data-now={step}] {drawn}").first).to_be_visible()
    assert violations(page) == []
