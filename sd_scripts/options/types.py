"""The option types that need reading of their own: sizes, step counts, name=value lists, names."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from sd_scripts.options.schema import Shape

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEFORE_NEXT_PAIR = re.compile(r"\s+(?=[A-Za-z_][A-Za-z0-9_]*\s*=)")
_NOT_IN_FILE_NAMES = '<>:"/\\|?*'


class UnfitError(ValueError):
    """A value that an option cannot take: why, in a user's words, and what to do instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _whole(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise UnfitError(
            f"{text.strip()!r} is not a whole number of pixels",
            'write one number ("512") or width and height ("512,768")',
        ) from None


def parse_size(value: Any) -> Any:
    """Read a size in pixels, "S", "W,H", S or [W, H], as (width, height)."""
    if isinstance(value, bool):
        raise UnfitError("this is not a size", 'write for example "512,768"')
    if isinstance(value, int):
        return value, value
    if isinstance(value, float) and value.is_integer():
        return int(value), int(value)
    if isinstance(value, str):
        value = [_whole(part) for part in re.split(r"[,x×]", value.strip("()[] "))]
        if len(value) == 1:
            value = value * 2
    if isinstance(value, list | tuple) and len(value) == 2:
        sides = [_whole(side) if isinstance(side, str) else side for side in value]
        if all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            return sides[0], sides[1]
    raise UnfitError("this is not a size", 'write one number ("512") or width and height "512,768"')


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    if not all(64 <= side <= 8192 for side in size):
        raise UnfitError(
            f"{size[0]} x {size[1]} pixels is not a size to train at",
            "each side must be between 64 and 8192; usual are 512, 768 and 1024",
        )
    return size


def parse_steps(value: Any) -> Any:
    """Read a step count: a whole number, a fraction under 1, or a percentage ("10%")."""
    hint = 'write a whole number of steps, or a share of all steps such as 0.1 or "10%"'
    number: float
    if isinstance(value, bool):
        raise UnfitError("this is not a number of steps", hint)
    if isinstance(value, str):
        text = value.strip()
        percent = text.endswith("%")
        try:
            number = float(text[:-1]) / 100 if percent else float(text)
        except ValueError:
            raise UnfitError(f"{text!r} is not a number of steps", hint) from None
        if percent and number >= 1:
            raise UnfitError(f"{text} of all steps is too much", "give less than 100%")
    elif isinstance(value, int | float):
        number = value
    else:
        raise UnfitError("this is not a number of steps", hint)
    if not math.isfinite(number) or number < 0:
        raise UnfitError(f"{value} is not a number of steps", hint)
    if number >= 1 or number == 0:
        if number != int(number):
            raise UnfitError(f"{value} steps cannot be done", hint)
        return int(number)
    return float(number)


def split_pairs(text: str) -> list[str]:
    """Split text with several name=value pairs, one a line or separated by blanks."""
    found = (_BEFORE_NEXT_PAIR.split(line.strip()) for line in text.splitlines())
    return [part for line in found for part in line if part]


def clean_pairs(value: Any) -> Any:
    """Read a list of name=value texts (or one text with several) in a uniform spelling."""
    hint = 'write name=value, for example "weight_decay=0.01"'
    items = split_pairs(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise UnfitError("this is not a list of name=value texts", hint)
    pairs: dict[str, str] = {}
    for item in items:
        name, equals, setting = (part.strip() for part in item.partition("="))
        if not equals or not setting or not _NAME.fullmatch(name) or "\n" in setting:
            raise UnfitError(f"{item!r} is not of the form name=value", hint)
        if pairs.get(name, setting) != setting:
            raise UnfitError(f"{name} is given twice", "keep one of the two")
        pairs[name] = setting
    return tuple(f"{name}={setting}" for name, setting in pairs.items())


def clean_path(value: Any) -> Any:
    """Take away line ends and a pair of quotes around a path, as left by copy and paste."""
    if not isinstance(value, str):
        return value
    while True:
        shorter = value.strip("\r\n")
        if len(shorter) > 1 and shorter[0] == shorter[-1] and shorter[0] in "\"'":
            shorter = shorter[1:-1]
        if shorter == value:
            break
        value = shorter
    if "\0" in value:
        raise UnfitError("a path cannot hold a NUL character", "type the path anew")
    if value.startswith("~"):
        _check_home(value)
    return value


def _check_home(path: str) -> None:
    try:
        Path(path).expanduser()
    except RuntimeError:  # "~name" of nobody
        home = Path(path).parts[0]
        raise UnfitError(f"no home folder is known for {home}", "write the whole path") from None


def parse_range(text: str) -> tuple[float, float]:
    """Read "low,high"; raises `UnfitError` if these are not two numbers from 0.1 to 100."""
    try:
        low, high = (float(part) for part in text.strip("()[] ").split(","))
    except ValueError:
        raise UnfitError(f"{text!r} is not a range", 'write two numbers, "2.0,4.0"') from None
    if not 0.1 <= low <= high <= 100:
        hint = "give two numbers from 0.1 to 100, the smaller one first"
        raise UnfitError(f"{text!r} is not a range", hint)
    return low, high


def clean_range(text: str) -> str:
    """Write a range in a uniform spelling: "2.0,4.0"."""
    return ",".join(str(side) for side in parse_range(text))


def with_dot(ending: str) -> str:
    """Put the dot before a plain ending ("txt"); others ("_tags.txt") stay as they are."""
    return f".{ending}" if ending.isalnum() else ending


def check_file_name(name: str) -> str:
    """Refuse what is not a plain file name on every system (no folder, no special character)."""
    bad = sorted({letter for letter in name if letter in _NOT_IN_FILE_NAMES or ord(letter) < 32})
    if bad:
        raise UnfitError(
            f"a file name cannot hold {' '.join(repr(letter) for letter in bad)}",
            "give a plain name; the folder goes into output_dir",
        )
    if name.strip(". ") == "":
        raise UnfitError(f"{name!r} is not a file name", "give a plain name, such as my_lora")
    return name


Size = Annotated[
    tuple[int, int], Shape("size"), AfterValidator(_check_size), BeforeValidator(parse_size)
]
Steps = Annotated[int | float, Shape("steps"), BeforeValidator(parse_steps)]
KeyValues = Annotated[tuple[str, ...], Shape("key_values"), BeforeValidator(clean_pairs)]
PathText = Annotated[str, BeforeValidator(clean_path)]
Ending = Annotated[str, AfterValidator(with_dot)]
FileName = Annotated[str, AfterValidator(check_file_name)]
RangeText = Annotated[str, AfterValidator(clean_range)]
