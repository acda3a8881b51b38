"""What axe finds wrong with a page: names, roles, contrast.

Rules: WCAG 2.2, levels A and AA, https://www.w3.org/TR/WCAG22/, as axe-core tests them.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from playwright.sync_api import Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page: Page) -> list[str]:
    """Return what axe finds, in lines: the rule, and the place."""
    page.evaluate(
        resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    )
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {violation['help']} at {node['target']}: {node['html'][:160]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
