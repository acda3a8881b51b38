"""Every page, by axe: names, roles, contrast; and none wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from kohya_gui.pages.registry import PAGES
from kohya_gui.workspace import open_workspace
from sd_scripts.errors import Problem
from sd_scripts.runs.events import EndEvent, EventWriter
from tests.support.axe import violations
from tests.support.pages import PATIENCE_MS, Gui, add_sample, add_save, make_run, running_gui

pytestmark = pytest.mark.browser
SETTLED = """() => {
  const root = document.documentElement;
  const height = document.body.scrollHeight;
  const same = root.dataset.lastHeight === String(height);
  root.dataset.lastHeight = String(height);
  return same && height > 150 && document.querySelector('.kg-main') !== null;
}"""
"""Whether the scripts have drawn what there is: nothing has grown since the last look."""


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


def opened(page: Page, gui: Gui, address: str) -> None:
    page.goto(gui.page(address))
    page.wait_for_function(SETTLED, polling=700)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(browser: Browser, gui: Gui, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    found = []
    for address in addresses(gui):
        opened(page, gui, address)
        # As high as the page, so that the bar that stays in view covers nothing at random.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": 1280, "height": height})
        found += [f"/{address}: {line}" for line in violations(page)]
        page.set_viewport_size({"width": 1280, "height": 900})
    context.close()
    assert found == [], "\n".join(found)


def test_no_page_is_wider_than_a_phone(browser: Browser, gui: Gui) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wide = {}
    for address in addresses(gui):
        opened(page, gui, address)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[address] = width
    context.close()
    assert wide == {}
