"""Whoever asked for another language reads nothing in English: neither on a page nor in its labels.

The GUI speaks a language in which every text stands between ⟦ and ⟧: what has none of these marks
around it was not taken from the texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser

from kohya_gui.locales import language_names
from kohya_gui.locales.speaking import COOKIE
from kohya_gui.pages.registry import PAGES
from kohya_gui.pages.tools import versions
from kohya_gui.workspace import open_workspace
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.schema import option_specs
from tests.support.pages import PATIENCE_MS, Gui, make_run, running_gui, settled
from tests.support.pseudo_gui import BEGIN, END, LANGUAGE, MODULE

pytestmark = pytest.mark.browser
READ: Final = """() => {
  const code = "script, style, noscript, code, pre, textarea, svg, .kg-code";
  const seen = (node) => node.checkVisibility({ visibilityProperty: true });
  const inline = (node) => ["inline", "contents"].includes(getComputedStyle(node).display);
  const told = (node) => [...node.childNodes].map((child) => {
    if (child.nodeType === Node.TEXT_NODE) return child.textContent;
    if (child.nodeType !== Node.ELEMENT_NODE || child.matches(code)) return " ";
    return inline(child) && seen(child) ? told(child) : " ";
  }).join("");
  const found = [];
  for (const node of document.querySelectorAll("body, body *")) {
    if (node.closest(code) || !seen(node)) continue;
    for (const name of ["aria-label", "title", "placeholder", "alt"]) {
      if (node.hasAttribute(name)) found.push([name, node.getAttribute(name)]);
    }
    if (node.tagName === "BODY" || !inline(node)) found.push(["text", told(node)]);
  }
  return found;
}"""
"""What a page shows and what it tells a screen reader: [where it stands, text]."""
SPECS: Final = [spec for job in JOBS.values() for spec in option_specs(job)]
NAMES: Final = frozenset(
    {
        *(spec.name for spec in SPECS),
        *(choice for spec in SPECS for choice in spec.choices or ()),
        *(word for name in language_names().values() for word in name.split()),
        *(one["name"] for one in versions()),
        *("KB", "MB", "GB"),
    }
)
"""Names that are the same in every language."""


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    workspace = open_workspace(tmp_path_factory.mktemp("words") / "work")
    make_run(workspace.path, "robot1")
    with running_gui(workspace.path, MODULE) as served:
        yield served


def untold(text: str) -> list[str]:
    """Return the words of a text that were not taken from the texts and are no names."""
    inner = re.compile(f"{BEGIN}[^{BEGIN}{END}]*{END}")
    while inner.search(text):
        text = inner.sub(" ", text)
    words = (word.strip("()[]{},;:.!?…·“”→*") for word in text.split())
    return [word for word in words if re.fullmatch("[A-Za-z'’-]{2,}", word) and word not in NAMES]


def test_no_word_of_a_page_is_english(browser: Browser, gui: Gui) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": COOKIE, "value": LANGUAGE, "url": gui.address}])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    found: dict[str, str] = {}
    for one in PAGES:
        page.goto(gui.page(one.path))
        settled(page)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        read = page.evaluate(READ)
        assert sum(BEGIN in text for _, text in read) > 20, one.path
        for where, text in read:
            if words := untold(text):
                found.setdefault(f"{where}: {' '.join(words)}", one.path)
    assert found == {}


def test_what_is_marked_and_what_is_a_name_is_no_english() -> None:
    assert untold(f"{BEGIN}Open {BEGIN}a file{END}{END} network_dim 12 MB lora.safetensors") == []
    assert untold("More tabs") == ["More", "tabs"]
