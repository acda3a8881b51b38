"""Translates names and spellings of older files into today's options.

A value may come under its old and its new name; if the two differ, both are named. Options that
sd-scripts keeps inside a name=value list (`conv_dim` in `network_args`) are taken out of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sd_scripts.errors import Problem
from sd_scripts.options.coerce import coerce, is_empty, read_bool
from sd_scripts.options.explain import shown
from sd_scripts.options.key_values import parse_value, split_pair
from sd_scripts.options.optimizer_table import OPTIMIZER_ALIASES
from sd_scripts.options.schema import OptionSpec
from sd_scripts.options.types import UnfitError, clean_pairs

_TORCH_SCHEDULERS = "torch.optim.lr_scheduler."
_OPTIMIZER_FLAGS = {"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"}
_STRAY_ARGUMENTS = (
    "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio",
)
"""Arguments of networks that kohya_ss writes beside network_args, too."""


class Translation:
    """Values under today's names, and what did not agree on the way."""

    def __init__(self, values: Mapping[str, object], specs: Mapping[str, OptionSpec]) -> None:
        self.values: dict[str, Any] = dict(values)
        self.problems: list[Problem] = []
        self._specs = specs
        self._rename()
        self._optimizer_flags()
        self._adafactor_course()
        self._dotted_names()
        self._stray_arguments()
        self._carried_options()

    def _same(self, name: str, one: object, other: object) -> bool:
        spec = self._specs[name]
        try:
            return bool(coerce(spec, one) == coerce(spec, other))
        except UnfitError:
            return bool(one == other)

    def _set(self, name: str, value: object, source: str, *, is_list: bool = False) -> None:
        """Take a value that came as `source`, unless the option itself says something else.

        `is_list`: the source is a name=value list, which may hold more than this.
        """
        there = self.values.get(name)
        if is_empty(there):
            self.values[name] = value
        elif not self._same(name, there, value):
            self.problems.append(
                Problem(
                    f"{source} says {shown(value)}, {name} says {shown(there)}",
                    f"{name}, {source}",
                    f"take {name} out of {source}"
                    if is_list
                    else f"keep {name} and take {source} out",
                )
            )

    def _rename(self) -> None:
        for spec in self._specs.values():
            for old in spec.old_names:
                value = self.values.pop(old, None)
                if not is_empty(value):
                    self._set(spec.name, value, old)

    def _optimizer_flags(self) -> None:
        if "optimizer_type" not in self._specs:
            return
        for old, name in _OPTIMIZER_FLAGS.items():
            if old not in self.values:
                continue
            value = self.values.pop(old)
            on = False if is_empty(value) else read_bool(value)
            if on is None:
                self.problems.append(
                    Problem(
                        f"{shown(value)} is neither true nor false",
                        old,
                        f'write optimizer_type = "{name}" instead',
                    )
                )
            elif on:
                self._set("optimizer_type", name, old)

    def _adafactor_course(self) -> None:
        course = self.values.get("lr_scheduler")
        if not isinstance(course, str) or not course.lower().startswith("adafactor:"):
            return
        rate = course.partition(":")[2]
        if isinstance(parse_value(rate), int | float):  # Adafactor's own rate does not depend on it
            self.values["lr_scheduler"] = "adafactor"

    def _dotted_names(self) -> None:
        """A class may be named with its module, or the other way round."""
        optimizer = self.values.get("optimizer_type")
        if isinstance(optimizer, str):
            known = OPTIMIZER_ALIASES.get(optimizer.strip().lower(), optimizer)
            self.values["optimizer_type"] = known
        course = self.values.get("lr_scheduler_type")
        if isinstance(course, str):
            self.values["lr_scheduler_type"] = course.strip().removeprefix(_TORCH_SCHEDULERS)

    def _stray_arguments(self) -> None:
        if "network_args" not in self._specs:
            return
        for name in _STRAY_ARGUMENTS:
            value = self.values.pop(name, None)
            try:
                pairs = clean_pairs(self.values.get("network_args") or ())
            except UnfitError:
                continue
            there = dict(map(split_pair, pairs)).get(name)
            if is_empty(value):
                continue
            if there is None:
                self.values["network_args"] = (*pairs, f"{name}={value}")
            elif parse_value(there) != (parse_value(value) if isinstance(value, str) else value):
                self.problems.append(
                    Problem(
                        f"network_args says {there}, {name} says {shown(value)}",
                        f"{name}, network_args",
                        f"take {name} out of network_args",
                    )
                )

    def _carried_options(self) -> None:
        carried = carried_options(self._specs)
        for carrier, names in carried.items():
            try:
                pairs = clean_pairs(self.values.get(carrier) or ())
            except UnfitError:
                continue
            kept: list[str] = []
            for name, text in map(split_pair, pairs):
                if name not in names:
                    kept.append(f"{name}={text}")
                elif text.lower() not in ("none", '""', "''"):
                    self._set(name, text, carrier, is_list=True)
            if len(kept) != len(pairs):
                self.values[carrier] = tuple(kept)


def carried_options(specs: Mapping[str, OptionSpec]) -> dict[str, list[str]]:
    """Which options each name=value list carries in a file."""
    found: dict[str, list[str]] = {}
    for spec in specs.values():
        if spec.carrier:
            found.setdefault(spec.carrier, []).append(spec.name)
    return found


def stray_arguments(network_args: object) -> list[str]:
    """Names in network_args that may have stood beside it; none if it holds anything else."""
    try:
        names = [split_pair(pair)[0] for pair in clean_pairs(network_args or ())]
    except UnfitError:
        return []
    return names if set(names) <= {*_STRAY_ARGUMENTS} else []


def old_names(specs: Mapping[str, OptionSpec]) -> Collection[str]:
    """Every name that is translated."""
    old = {old for spec in specs.values() for old in spec.old_names}
    return old | {*_OPTIMIZER_FLAGS, *_STRAY_ARGUMENTS}
