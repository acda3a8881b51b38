"""Every page, by axe: names, roles, contrast; and none wider than its screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, Page

from kohya_gui.pages.registry import PAGES
from kohya_gui.workspace import open_workspace
from sd_scripts.errors import Problem
from sd_scripts.runs.events import EndEvent, EventWriter
from tests.support.axe import violations
from tests.support.pages import (
    PATIENCE_MS,
    STILL,
    Gui,
    add_sample,
    add_save,
    make_run,
    running_gui,
    settled,
)

pytestmark = pytest.mark.browser
SCHEMES: Final[tuple[Literal["dark", "light"], ...]] = ("dark", "light")


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    """A workspace with a run at work, one that is done, and one that failed."""
    workspace = open_workspace(tmp_path_factory.mktemp("access") / "work")
    make_run(workspace.path, "at-work")
    done = make_run(workspace.path, "done", alive=False)
    add_sample(done, 10, 0, "a photo of mycat on a sofa")
    add_save(done, 30)
    with EventWriter(done.events) as events:
        events.emit(EndEvent(status="finished", reason="All done."))
    failed = make_run(workspace.path, "failed", alive=False)
    problem = Problem("The disk is full", "output_dir", "Free 2 GB and resume.")
    with EventWriter(failed.events) as events:
        events.emit(EndEvent(status="failed", reason="The disk is full", problems=(problem,)))
    with running_gui(workspace.path) as served:
        yield served


def addresses(gui: Gui) -> list[str]:
    """Return every page's address, and those of the run views, one by one and side by side."""
    runs = sorted(path.name for path in (gui.workspace / "runs").iterdir())
    views = [f"runs?run={name}" for name in runs]
    return (
        [page.path for page in PAGES]
        + views
        + ["runs?" + "&".join(f"compare={name}" for name in runs)]
    )


def open_sweep(page: Page) -> None:
    """Ask for two runs, so that the card shows its fields, the runs and what is wrong."""
    page.click("[data-sweep-toggle]")
    page.fill("[data-sweep-option]", "network_dim")
    page.fill("[data-sweep-values]", "8, 16")
    page.wait_for_selector("[data-sweep-runs='2']")


def test_nothing_keeps_people_out(browser: Browser, gui: Gui) -> None:
    """Each page is loaded once: on a phone, then on a desk, where it is tried in both themes."""
    context = browser.new_context(color_scheme="dark")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    found, wide = [], {}
    for address in addresses(gui):
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(gui.page(address))
        if address == "lora":
            open_sweep(page)
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            settled(page)
            needed = page.evaluate("document.documentElement.scrollWidth")
            if needed > width:
                wide[address] = needed
        # As high as the page, so that the bar that stays in view covers nothing at random.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": 1280, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(
                "dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark"
            )
            page.wait_for_function(STILL)
            found += [f"/{address}, {scheme}: {line}" for line in violations(page)]
        page.emulate_media(color_scheme="dark")
    context.close()
    assert found == [], "\n".join(found)
    assert wide == {}
