"""Every key of a dataset file: where it may stand, what it may be, what later work brings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from sd_scripts.errors import Problem
from sd_scripts.options.groups.data import Interpolation

Check = Callable[[object], object]
# Dataset files of sd-scripts may also say "box", which its command line does not know.
_INTERPOLATIONS: Final[tuple[str, ...]] = (*get_args(Interpolation), "box")


class UnfitValue(ValueError):
    """A value that a key can't have; the message says what it must be."""


def _whole(minimum: int, maximum: int = 1_000_000) -> Check:
    def check(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return value
        raise UnfitValue(f"must be a whole number, {minimum} or more")

    return check


def _number(minimum: float, maximum: float = math.inf) -> Check:
    def check(value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
            if minimum <= number <= maximum and math.isfinite(number):
                return number
        limits = (
            f"from {minimum:g} to {maximum:g}" if maximum < math.inf else f"{minimum:g} or more"
        )
        raise UnfitValue(f"must be a number, {limits}")

    return check


def _yes_or_no(value: object) -> object:
    if isinstance(value, bool):
        return value
    raise UnfitValue("must be true or false, without quotes")


def _text(*, may_be_empty: bool = True) -> Check:
    def check(value: object) -> object:
        if isinstance(value, str) and (value or may_be_empty):
            return value
        raise UnfitValue("must be text in quotes" + ("" if may_be_empty else ", not empty"))

    return check


def _size(value: object) -> object:
    sides = [value, value] if isinstance(value, int) else value
    whole = isinstance(sides, list) and all(
        isinstance(side, int) and not isinstance(side, bool) for side in sides
    )
    if whole and isinstance(sides, list) and len(sides) == 2:
        if all(8 <= side <= 16384 for side in sides):
            return sides[0], sides[1]
        raise UnfitValue("must be from 8 to 16384 pixels")
    raise UnfitValue("must be a whole number, or two of them as [width, height]")


def _share(value: object) -> object:
    number = _number(0, 1)(value)
    if number == 1:
        raise UnfitValue("must be below 1: something has to be trained on")
    return number


def _range(value: object) -> object:
    if value == []:
        return None
    if isinstance(value, list) and len(value) == 2:
        low, high = (_number(0.1, 100)(side) for side in value)
        if isinstance(low, float) and isinstance(high, float) and low <= high:
            return low, high
    raise UnfitValue("must be two numbers, the smaller one first, as [2.0, 4.0]")


def _interpolation(value: object) -> object:
    if isinstance(value, str) and value in _INTERPOLATIONS:
        return value
    raise UnfitValue(f"must be one of {', '.join(_INTERPOLATIONS)}")


DATASET_KEYS: Final[Mapping[str, Check]] = {
    "batch_size": _whole(1),
    "resolution": _size,
    "enable_bucket": _yes_or_no,
    "min_bucket_reso": _whole(1),
    "max_bucket_reso": _whole(1),
    "bucket_reso_steps": _whole(1),
    "bucket_no_upscale": _yes_or_no,
    "validation_split": _share,
    "validation_seed": _whole(0, 2**63 - 1),
}
SHARED_KEYS: Final[Mapping[str, Check]] = {
    "resize_interpolation": _interpolation,
    "num_repeats": _whole(-1_000_000),
    "shuffle_caption": _yes_or_no,
    "flip_aug": _yes_or_no,
    "color_aug": _yes_or_no,
    "face_crop_aug_range": _range,
    "random_crop": _yes_or_no,
    "enable_wildcard": _yes_or_no,
    "keep_tokens": _whole(0),
    "keep_tokens_separator": _text(),
    "secondary_separator": _text(),
    "caption_separator": _text(may_be_empty=False),
    "caption_prefix": _text(),
    "caption_suffix": _text(),
    "caption_extension": _text(may_be_empty=False),
    "class_tokens": _text(),
    "token_warmup_min": _whole(0),
    "token_warmup_step": _number(0),
    "caption_dropout_rate": _number(0, 1),
    "caption_tag_dropout_rate": _number(0, 1),
    "caption_dropout_every_n_epochs": _whole(0),
}
SUBSET_KEYS: Final[Mapping[str, Check]] = {
    "image_dir": _text(may_be_empty=False),
    "metadata_file": _text(),
    "is_reg": _yes_or_no,
    "alpha_mask": _yes_or_no,
    "conditioning_data_dir": _text(),
}
# Read by our own means anyway: sizes and captions are always remembered.
NO_MATTER_KEYS: Final = ("cache_info",)
# Known to sd-scripts, not brought by this program yet; the values that mean "off" are fine.
LATER_KEYS: Final[Mapping[str, tuple[object, ...]]] = {
    "network_multiplier": (1,),
    "custom_attributes": ({},),
}
_OTHER_NAMES: Final = {
    "train_batch_size": "batch_size",
    "dataset_repeats": "num_repeats",
    "repeats": "num_repeats",
    "train_data_dir": "image_dir",
    "caption_extention": "caption_extension",
    "class_token": "class_tokens",
}
LEVELS: Final[Mapping[str, Mapping[str, Check]]] = {
    "[general]": {**DATASET_KEYS, **SHARED_KEYS},
    "[[datasets]]": {**DATASET_KEYS, **SHARED_KEYS},
    "[[datasets.subsets]]": {**SHARED_KEYS, **SUBSET_KEYS},
}


@dataclass(frozen=True)
class Place:
    """Where in a dataset file something stands: its level, and words for messages."""

    level: str
    words: str


def check_table(
    table: Mapping[str, object], place: Place, *, but: tuple[str, ...] = ()
) -> tuple[dict[str, object], list[Problem]]:
    """The good values of one table and a problem for each bad or unknown key.

    `but` names keys that somebody else looks at. Values of None (JSON null) say nothing.
    """
    checks, values, problems = LEVELS[place.level], {}, []
    for key, value in table.items():
        if key in but or key in NO_MATTER_KEYS or value is None:
            continue
        if key in checks:
            try:
                values[key] = checks[key](value)
            except UnfitValue as unfit:
                problems.append(_problem(f"{key} {unfit}, not {value!r}", place))
        elif key in LATER_KEYS:
            if not any(value == off for off in LATER_KEYS[key]):
                problems.append(_later(key, value, place))
        else:
            problems.append(_unknown(key, place))
    return values, problems


def _problem(message: str, place: Place, hint: str | None = None) -> Problem:
    return Problem(f"{place.words}: {message}", "dataset_config", hint)


def _later(key: str, value: object, place: Place) -> Problem:
    return _problem(
        f"{key} = {value!r} is known from sd-scripts, but this program does not have it",
        place,
        f"leave {key} out",
    )


def _unknown(key: str, place: Place) -> Problem:
    elsewhere = [level for level, checks in LEVELS.items() if key in checks]
    if elsewhere:
        levels = " or ".join(elsewhere)
        return _problem(f"{key} can't stand in {place.level}", place, f"move it to {levels}")
    known = [*LEVELS[place.level], *LATER_KEYS, *NO_MATTER_KEYS]
    near = _OTHER_NAMES.get(key) or next(iter(difflib.get_close_matches(key, known, 1)), None)
    hint = f"did you mean {near}?" if near else f"known here: {', '.join(LEVELS[place.level])}"
    return _problem(f"the key {key} is unknown", place, hint)
