"""The words of options in the language that is asked for; in English they come from the schema.

An option may be explained differently for different jobs; the second explanation then has the key
`option.<name>.help_2`, and so on, in the order of the jobs.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

from kohya_gui.locales import Texts
from sd_scripts.options.jobs import JOBS
from sd_scripts.options.schema import OptionSpec, group_titles, option_specs

What = Literal["label", "help"]
_WHATS: Final[tuple[What, ...]] = ("label", "help")


def label(spec: OptionSpec, text: Texts) -> str:
    """Return what an option is called."""
    return _word(spec, "label", text)


def explanation(spec: OptionSpec, text: Texts) -> str:
    """Return what an option does."""
    return _word(spec, "help", text)


def unit(spec: OptionSpec, text: Texts) -> str:
    """Return the unit of an option's value; "" if it has none."""
    return text.optional(f"unit.{spec.unit}", spec.unit) if spec.unit else ""


def _word(spec: OptionSpec, what: What, text: Texts) -> str:
    english = _english(spec, what)
    key = _keys().get((spec.name, what, english))
    return english if key is None else text.optional(key, english)


def _english(spec: OptionSpec, what: What) -> str:
    return spec.label if what == "label" else spec.help


@cache
def _keys() -> dict[tuple[str, What, str], str]:
    """Return the keys of all words, by option, kind of word and English text."""
    keys: dict[tuple[str, What, str], str] = {}
    count: dict[tuple[str, What], int] = {}
    for job in JOBS.values():
        for spec in option_specs(job):
            for what in _WHATS:
                entry = (spec.name, what, _english(spec, what))
                if entry in keys:
                    continue
                number = count[spec.name, what] = count.get((spec.name, what), 0) + 1
                keys[entry] = f"option.{spec.name}.{what}{'' if number == 1 else f'_{number}'}"
    return keys


def english_words() -> dict[str, str]:
    """Return every word of options, their choices, groups and units in English, by its key."""
    words = {key: english for (_, _, english), key in _keys().items()}
    for job in JOBS.values():
        for spec in option_specs(job):
            more = {"typical": spec.typical, "cost": spec.cost}
            words |= {f"option.{spec.name}.{what}": said for what, said in more.items() if said}
            words |= {f"choice.{spec.name}.{choice}": said for choice, said in spec.choice_help}
        words |= {f"group.{group}": title for group, title in group_titles(job).items()}
        words |= {f"unit.{spec.unit}": spec.unit for spec in option_specs(job) if spec.unit}
    return words
