"""The help of an option in the language that is asked for: what it takes, its default, its choices.

`sd_scripts.options.words` tells the same facts in English, on the command line and in
the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kohya_gui.forms import option_words
from kohya_gui.locales import Texts
from sd_scripts.options.explain import plain_number
from sd_scripts.options.schema import OptionSpec
from sd_scripts.options.words import FAMILY_NAMES, value_words


def help_of(spec: OptionSpec, text: Texts) -> dict[str, Any]:
    """Return what is known of an option besides its label and explanation; None where nothing."""

    def told(part: str, otherwise: str | None) -> str | None:
        return text.optional(f"option.{spec.name}.{part}", otherwise or "") or None

    return {
        "typical": told("typical", spec.typical),
        "cost": told("cost", spec.cost),
        "value": _takes(spec, text),
        "default": _default(None if spec.required else spec.default, text),
        "applies": _applies(spec, text),
        "old_names": ", ".join(spec.old_names),
        "choices": [
            (choice, text.optional(f"choice.{spec.name}.{choice}", english))
            for choice, english in spec.choice_help
        ],
    }


def _takes(spec: OptionSpec, text: Texts) -> str | None:
    """Return what kind of value an option takes, and between which numbers."""
    if spec.kind == "choice":
        return None  # the choices stand in a list
    kind = text(f"takes.path_{spec.path}" if spec.path else f"takes.{spec.kind}")
    return "; ".join(part for part in (kind, _limits(spec, text)) if part)


def _limits(spec: OptionSpec, text: Texts) -> str:
    words = _range(spec, text) if spec.kind in ("int", "float", "numbers") else ""
    if not spec.unit or spec.kind in ("size", "steps"):
        return words
    unit = option_words.unit(spec, text)
    return f"{words} {unit}" if words else text("takes.in_unit", unit=unit)


def _range(spec: OptionSpec, text: Texts) -> str:
    """Return which numbers an option takes, as `sd_scripts.options.explain.range_words` does."""
    low = None if spec.minimum is None else plain_number(spec.minimum)
    high = None if spec.maximum is None else plain_number(spec.maximum)
    if low is not None and high is not None and not spec.exclusive_minimum:
        key = "takes.from_below" if spec.exclusive_maximum else "takes.from_to"
        return text(key, low=low, high=high)
    parts: list[str] = []
    if low is not None:
        parts.append(text("takes.above" if spec.exclusive_minimum else "takes.or_more", low=low))
    if high is not None:
        parts.append(text("takes.below" if spec.exclusive_maximum else "takes.at_most", high=high))
    return ", ".join(parts)


def _default(value: object, text: Texts) -> str:
    if value is None or value == ():
        return text("default.empty")
    if value == "":
        return text("default.no_text")
    if isinstance(value, bool):
        return text("default.on" if value else "default.off")
    return value_words(value)


def _applies(spec: OptionSpec, text: Texts) -> str | None:
    """Return when an option has an effect, a part for each condition; None if always."""
    applies = spec.applies
    parts: list[str] = []
    if applies.families:
        families = _either([FAMILY_NAMES[name] for name in applies.families], text)
        parts.append(text("applies.model", families=families))
    if applies.methods:
        parts.append(f"network_module = {_either(applies.methods, text)}")
    for option, values in applies.when:
        if not values:
            parts.append(text("applies.set", option=option))
        elif values == (True,):
            parts.append(text("applies.on", option=option))
        elif values == (False,):
            parts.append(text("applies.off", option=option))
        else:
            parts.append(f"{option} = {_either([str(value) for value in values], text)}")
    return text("applies.only", parts="; ".join(parts)) if parts else None


def _either(names: Sequence[str], text: Texts) -> str:
    if len(names) == 1:
        return names[0]
    return text("applies.either", names=", ".join(names[:-1]), last=names[-1])
