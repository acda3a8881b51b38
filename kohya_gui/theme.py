"""The calm theme: grey surfaces, one quiet accent, system fonts (nothing is fetched)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kohya_gui.delivery import asset
from kohya_gui.quick_gradio import gr

FONT: Final = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "sans-serif"]
FONT_MONO: Final = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

# Gradio's names → ours. Ours change between light and dark in `assets/app.css`, so each is set for
# both of Gradio's modes.
_VARIABLES: Final = {
    "body_background_fill": "page",
    "body_text_color": "text",
    "body_text_color_subdued": "quiet",
    "background_fill_primary": "card",
    "background_fill_secondary": "page",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "color_accent_soft": "accent-soft",
    "panel_background_fill": "card",
    "block_label_text_color": "text",
    "block_title_text_color": "text",
    "block_info_text_color": "quiet",
    "input_background_fill": "input",
    "input_background_fill_focus": "input",
    "input_border_color": "line-strong",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "faint",
    "checkbox_background_color": "input",
    "checkbox_border_color": "line-strong",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color_selected": "accent",
    "button_primary_background_fill": "accent-button",
    "button_primary_background_fill_hover": "accent-hover",
    "button_secondary_background_fill": "button",
    "button_secondary_background_fill_hover": "button-hover",
    "button_secondary_text_color": "text",
    "button_secondary_border_color": "line-strong",
    "link_text_color": "accent",
    "link_text_color_hover": "accent",
}
_PLAIN: Final = {
    "block_background_fill": "transparent",
    "block_label_background_fill": "transparent",
    "block_border_width": "0px",
    "block_shadow": "none",
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 2px var(--kg-accent-soft)",
    "button_primary_text_color": "#ffffff",
}


def make_theme() -> gr.themes.Base:
    """Return Gradio's base theme in our colours."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        font=FONT,
        font_mono=FONT_MONO,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
    )
    light, dark = (_values(colours) for colours in _colours(asset("app.css")))
    return theme.set(
        color_accent=light["input_border_color_focus"],
        block_title_text_weight="600",
        **light,
        **{f"{name}_dark": value for name, value in dark.items()},
    )


def _values(colours: Mapping[str, str]) -> dict[str, str]:
    """Return Gradio's variables. Its login page comes without our styles, so each names its colour,
    too."""
    ours = {name: f"var(--kg-{of}, {colours[of]})" for name, of in _VARIABLES.items()}
    return ours | _PLAIN


def _colours(styles: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return our colours by name, the light ones and the dark ones."""
    light, dark = (
        dict(re.findall(r"--kg-([\w-]+): ([^;]+);", block))
        for block in re.findall(r"^(?::root|\.dark) \{(.*?)^\}", styles, re.DOTALL | re.MULTILINE)[
            :2
        ]
    )
    return light, {**light, **dark}
