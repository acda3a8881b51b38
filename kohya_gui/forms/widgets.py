"""One option → one Gradio component, and what the page's script has to know of it."""

from __future__ import annotations

from typing import Any, Final

from kohya_gui.forms import option_words
from kohya_gui.forms.help_words import help_of
from kohya_gui.locales import Texts
from kohya_gui.quick_gradio import gr
from sd_scripts.options.form_values import to_widget
from sd_scripts.options.schema import OptionSpec

Widget = gr.Textbox | gr.Checkbox | gr.Dropdown
_CHOSEN: Final = ("file", "folder", "file_or_folder")
_SEVERAL_LINES: Final = ("texts", "key_values")
_NUM_LINES: Final = 3


def is_tick(spec: OptionSpec) -> bool:
    """Tell whether the option is a plain yes or no."""
    return spec.kind == "bool" and not spec.optional


def shown_number(value: object) -> str:
    """Return a number as people write it: 0.0001 as "1e-4", 1.0 as "1"."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
        mantissa, mark, exponent = text.partition("e")
        return f"{mantissa}e{int(exponent)}" if mark else text
    return "" if value is None else str(value)


def shown_value(spec: OptionSpec, value: object) -> object:
    """Return a value of the job as this widget holds it (text, or a tick)."""
    if spec.kind in ("int", "float"):
        return value if isinstance(value, str) else shown_number(value)
    if spec.kind == "numbers" and isinstance(value, tuple):
        return ", ".join(shown_number(item) for item in value)
    return to_widget(spec, value)


def default_shown(spec: OptionSpec) -> object:
    """Return what the widget of an option holds before anybody touched it."""
    return shown_value(spec, spec.default)


def choices_of(spec: OptionSpec, text: Texts) -> list[tuple[str, str]]:
    """Return the entries of a list, (shown, value); "" stands for no choice made."""
    automatic = (text("form.automatic"), "")
    if spec.kind == "bool":
        return [automatic, (text("form.yes"), "true"), (text("form.no"), "false")]
    known = [(choice, choice) for choice in spec.choices or ()]
    return [automatic, *known] if spec.optional else known


def make_widget(spec: OptionSpec, text: Texts, *, later: bool = False) -> Widget:
    """Return the component of an option, at its default. Errors are shown beside it by script.

    `later`: the browser draws it once the page can be used, and the script shows it, by tier or
    search; until then no layout is spent on it.
    """
    hidden = ["kg-hidden"] if later else []
    label = option_words.label(spec, text)
    if spec.unit and spec.unit.lower() not in spec.label.lower():
        label = f"{label} ({option_words.unit(spec, text)})"
    # The option's name stands in the text, so that it is read aloud and found by Ctrl-F.
    info = f"`{spec.name}` {option_words.explanation(spec, text)}"
    value = default_shown(spec)
    common: dict[str, Any] = {
        "label": label,
        "info": info,
        "elem_id": f"opt-{spec.name}",
        "elem_classes": ["kg-option", *(["kg-path"] if spec.path else []), *hidden],
        "interactive": True,
        "visible": not later,
    }
    if is_tick(spec):
        return gr.Checkbox(value=bool(value), **common)
    if spec.kind in ("bool", "choice"):
        return gr.Dropdown(choices_of(spec, text), value=str(value), **common)
    several = spec.kind in _SEVERAL_LINES
    return gr.Textbox(
        value=str(value),
        # Of a fixed height: a growing one is measured at every change, and on opening the page.
        lines=_NUM_LINES if several else 1,
        max_lines=_NUM_LINES if several else 1,
        placeholder=text("form.one_a_line") if several else _placeholder(spec, text),
        html_attributes=gr.InputHTMLAttributes(
            spellcheck=False, autocomplete="off", autocapitalize="off"
        ),
        **common,
    )


def _placeholder(spec: OptionSpec, text: Texts) -> str:
    if spec.required:
        return text("form.required")
    if not spec.optional:
        return ""
    return text("form.none_chosen" if spec.path in _CHOSEN else "form.automatic")


def script_facts(spec: OptionSpec, text: Texts) -> dict[str, Any]:
    """Return what the page's script needs: for search, the tier filter, Browse, and the help."""
    return {
        "label": option_words.label(spec, text),
        "tier": spec.tier,
        "group": spec.group,
        "kind": spec.path,
        "words": " ".join((*spec.keywords, *spec.old_names)),
        **help_of(spec, text),
    }
