"""The theme: its colours hold where our styles are missing, as on the page for logging in."""

from __future__ import annotations

import re

from kohya_gui.delivery import asset
from kohya_gui.theme import make_theme


def test_every_colour_is_named_beside_its_variable() -> None:
    variables = [value for value in vars(make_theme()).values() if "var(--kg-" in str(value)]
    assert len(variables) > 50
    rest = {one for one in variables if not re.fullmatch(r"var\(--kg-[\w-]+, #\w+\)", one)}
    assert rest == {"0 0 0 2px var(--kg-accent-soft)"}  # of a field that has a border, too
    light, dark = make_theme().input_border_color, make_theme().input_border_color_dark
    assert light != dark
    assert f"--kg-line-strong: {dark[-8:-1]};" in asset("app.css")
