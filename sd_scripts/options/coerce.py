"""Reads one value, whatever door it came through: TOML, command line, form or Python.

Text is read as what the option wants; a value of a wrong type is refused in words. Bounds are
left to the group's pydantic model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from sd_scripts.options.explain import did_you_mean, shown
from sd_scripts.options.schema import OptionSpec, flat_types
from sd_scripts.options.types import UnfitError, clean_pairs, clean_path, parse_size, parse_steps

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def read_bool(value: object) -> bool | None:
    """Read yes or no; None if it is neither."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _bool(spec: OptionSpec, value: object) -> bool:
    read = read_bool(value)
    if read is None:
        raise UnfitError(f"{shown(value)} is neither true nor false", "write true or false")
    return read


def _int(spec: OptionSpec, value: object) -> int:
    unfit = UnfitError(f"{shown(value)} is not a whole number", _number_hint(spec, "10"))
    if isinstance(value, bool):
        raise unfit
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            raise unfit from None
    raise unfit


def _float(spec: OptionSpec, value: object) -> float:
    unfit = UnfitError(f"{shown(value)} is not a number", _number_hint(spec, "0.1 or 1e-4"))
    if isinstance(value, bool):
        raise unfit
    if isinstance(value, int | float | str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise unfit from None
    raise unfit


def _number_hint(spec: OptionSpec, example: str) -> str:
    empty = ", or leave it empty" if spec.optional else ""
    return f"write a number, such as {example}{empty}"


def _text(spec: OptionSpec, value: object) -> str:
    if isinstance(value, str):
        return str(clean_path(value)) if spec.path else value
    raise UnfitError(f"{shown(value)} is not a text", "put it in quotes")


def _choice(spec: OptionSpec, value: object) -> object:
    literals = next(get_args(kind) for kind in flat_types(spec.type)[0] if get_args(kind))
    by_text = {str(literal).lower(): literal for literal in literals}
    text = str(value).strip().lower()
    if text in by_text and not isinstance(value, bool):
        return by_text[text]
    if text in (off.lower() for off in map(str, spec.off_values)):
        return None
    choices = [str(literal) for literal in literals]
    hint = f"choose {choices[0] if len(choices) == 1 else ', '.join(choices)}"
    if text in (later.lower() for later in spec.later):
        raise UnfitError(
            f"{shown(value)} is known from sd-scripts, but this program does not have it",
            hint,
        )
    raise UnfitError(f"{shown(value)} is not a choice", did_you_mean(text, choices, hint))


def _numbers(spec: OptionSpec, value: object) -> tuple[float, ...]:
    if isinstance(value, str):
        value = value.strip("()[] ").replace(",", " ").split()
    items = value if isinstance(value, list | tuple) else [value]
    parts = [part for item in items for part in (_split(item) if isinstance(item, str) else [item])]
    return tuple(_float(spec, part) for part in parts)


def _split(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _texts(spec: OptionSpec, value: object) -> tuple[str, ...]:
    items = value.splitlines() if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise UnfitError(f"{shown(value)} is not a list of texts", 'write ["one", "two"]')
    return tuple(_text(spec, item) for item in items)


_READERS: dict[str, Callable[[OptionSpec, Any], object]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "text": _text,
    "choice": _choice,
    "size": lambda spec, value: parse_size(value),
    "steps": lambda spec, value: parse_steps(value),
    "numbers": _numbers,
    "texts": _texts,
    "key_values": lambda spec, value: clean_pairs(value),
}


def is_empty(value: object) -> bool:
    """Whether a value says nothing: then the option keeps its default. Zero and False speak."""
    return value is None or (isinstance(value, str | list | tuple) and len(value) == 0)


def coerce(spec: OptionSpec, value: object) -> object:
    """Read a value (not an empty one) of an option; raises `UnfitError` with words."""
    read = _READERS[spec.kind](spec, value)
    off = not isinstance(read, bool) and isinstance(read, int | float | str)
    return None if off and read in spec.off_values else read
