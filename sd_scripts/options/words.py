"""What an option is, in words: kind of value, default, range, when it applies.

Help on the command line and the documentation say the same, since both are made here.
"""

from __future__ import annotations

from sd_scripts.options.explain import plain_number, range_words
from sd_scripts.options.schema import OptionSpec, PathKind

FAMILY_NAMES = {"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"}

_PATHS: dict[PathKind | None, str] = {
    "file": "FILE",
    "folder": "FOLDER",
    "output_folder": "FOLDER",
    "file_or_folder": "PATH",
    None: "TEXT",
}
_KINDS = {
    "bool": ("", "yes or no"),
    "int": ("N", "whole number"),
    "float": ("X", "number"),
    "size": ("W,H", "width,height or one number, in pixels"),
    "steps": ("STEPS", "number of steps, or a share of all steps (0.1, 10%)"),
    "numbers": ("X ...", "one or more numbers"),
    "texts": ("TEXT ...", "any number of texts"),
    "key_values": ("NAME=VALUE ...", "any number of name=value"),
}
_PATH_WORDS: dict[PathKind | None, str] = {
    "file": "path of a file",
    "folder": "path of a folder",
    "output_folder": "path of a folder",
    "file_or_folder": "path of a file or folder",
    None: "text",
}


def placeholder(spec: OptionSpec) -> str:
    """What stands for the value in a usage line; empty for a plain yes or no."""
    if spec.kind == "bool" and spec.optional:
        return "true|false"
    if spec.kind == "text":
        return _PATHS[spec.path]
    if spec.kind == "choice":
        return "CHOICE"
    return _KINDS[spec.kind][0]


def kind_words(spec: OptionSpec) -> str:
    """What kind of value an option takes."""
    if spec.kind == "text":
        return _PATH_WORDS[spec.path]
    if spec.kind == "choice":
        return f"one of {', '.join(spec.choices or ())}"
    return _KINDS[spec.kind][1]


def limits_words(spec: OptionSpec) -> str | None:
    """The range of an option's numbers with their unit, if there is one."""
    words = range_words(spec) if spec.kind in ("int", "float", "numbers") else None
    unit = spec.unit if spec.kind not in ("size", "steps") else None
    if words is None:
        return f"in {unit}" if unit else None
    return f"{words} {unit}" if unit else words


def value_words(value: object) -> str:
    """A default as a person writes it."""
    if value is None or value == ():
        return "empty"
    if value == "":
        return "no text"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return plain_number(value)
    return str(value)


def default_words(spec: OptionSpec) -> str:
    """The default, or that there is none."""
    return "required" if spec.required else f"default: {value_words(spec.default)}"


def applies_words(spec: OptionSpec) -> str | None:
    """When an option has an effect, as a sentence; None if always."""
    applies = spec.applies
    parts: list[str] = []
    if applies.families:
        parts.append(f"for {_or([FAMILY_NAMES[name] for name in applies.families])}")
    if applies.methods:
        parts.append(f"with {_or(applies.methods)}")
    for option, values in applies.when:
        if not values:
            parts.append(f"when {option} is set")
        elif values == (True,):
            parts.append(f"with {option}")
        else:
            parts.append(f"with {option} {_or([str(value) for value in values])}")
    return f"Only {' and '.join(parts)}." if parts else None


def _or(names: tuple[str, ...] | list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
