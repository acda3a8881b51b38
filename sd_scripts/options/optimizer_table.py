"""The optimizers that can be chosen and the arguments each takes, known without importing any."""

from __future__ import annotations

from typing import Final, Literal, get_args

from sd_scripts.options.optimizer_entries import Argument, ArgumentKind, OptimizerEntry
from sd_scripts.options.optimizer_known import KNOWN
from sd_scripts.options.optimizer_others import OTHERS

__all__ = [
    "ELEMENTWISE",
    "OPTIMIZERS",
    "OPTIMIZER_ALIASES",
    "Argument",
    "ArgumentKind",
    "OptimizerEntry",
    "OptimizerName",
]

OptimizerName = Literal[
    "AdamW",
    "AdamW8bit",
    "PagedAdamW",
    "PagedAdamW8bit",
    "PagedAdamW32bit",
    "Adafactor",
    "Lion",
    "Lion8bit",
    "PagedLion8bit",
    "Prodigy",
    "DAdaptation",
    "DAdaptAdamPreprint",
    "DAdaptAdaGrad",
    "DAdaptAdam",
    "DAdaptAdan",
    "DAdaptAdanIP",
    "DAdaptLion",
    "DAdaptSGD",
    "AdamWScheduleFree",
    "RAdamScheduleFree",
    "SGDScheduleFree",
    "SGDNesterov",
    "SGDNesterov8bit",
    "prodigyplus.ProdigyPlusScheduleFree",
    "bitsandbytes.optim.AdEMAMix",
    "bitsandbytes.optim.AdEMAMix8bit",
    "bitsandbytes.optim.PagedAdEMAMix8bit",
    "pytorch_optimizer.CAME",
    "pytorch_optimizer.Adan",
    "pytorch_optimizer.StableAdamW",
    "pytorch_optimizer.SOAP",
    "pytorch_optimizer.Tiger",
    "Adam",
    "NAdam",
    "RAdam",
    "Adamax",
    "Adagrad",
    "Adadelta",
    "RMSprop",
    "SGD",
    "ASGD",
    "Rprop",
]

OPTIMIZERS: Final[dict[str, OptimizerEntry]] = {entry.name: entry for entry in (*KNOWN, *OTHERS)}

assert tuple(OPTIMIZERS) == get_args(OptimizerName)


ELEMENTWISE: Final[frozenset[OptimizerName]] = frozenset(
    (
        *("AdamW", "AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit"),
        *("Lion", "Lion8bit", "PagedLion8bit", "SGDNesterov", "SGDNesterov8bit"),
        *("AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree"),
        *("Adam", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"),
        *("SGD", "ASGD", "Rprop"),
    )
)
"""Optimizers that step a number by its own past alone: pieces of a tensor go as the whole does.

Those with 8 bits share one scale among 2048 or 256 numbers, so their rounding depends on the cut.
"""

assert set(OPTIMIZERS) >= ELEMENTWISE


def _aliases() -> dict[str, str]:
    """Other spellings: with the package before the name, or without it."""
    found: dict[str, str] = {}
    for entry in OPTIMIZERS.values():
        module, _, kind = entry.target.partition(":")
        if not entry.preset:
            for spelled in (f"{module}.{kind}", f"{module.partition('.')[0]}.{kind}"):
                found.setdefault(spelled.lower(), entry.name)
        found.setdefault(entry.name.rpartition(".")[2].lower(), entry.name)
    return {spelled: name for spelled, name in found.items() if spelled != name.lower()}


OPTIMIZER_ALIASES: Final = _aliases()
"""Names in lower case that mean an optimizer of the table."""
