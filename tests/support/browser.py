"""The browser that tests drive; without one they fail with the remedy, they are not skipped."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from tools.setup.browser import BROWSER_VARIABLE, find_browser


@cache
def browser_path() -> str:
    """Return a Chromium or Chrome: `KOHYA_TEST_BROWSER`, an installed one, or Playwright's own."""
    found = find_browser(Path(sys.executable))
    assert found is not None, (
        "There is no browser for the tests of the pages. Run `./setup.sh test`, which brings one, "
        f"or name one: {BROWSER_VARIABLE}=/path/to/chromium"
    )
    return found
