"""Brings every rule into the registry: `from ...all_rules import RULES` cannot miss one."""

from __future__ import annotations

from sd_scripts.options.rules import (
    captioning_rules,
    course_rules,
    data_rules,
    embedding_rules,
    full_rules,
    mask_rules,
    memory_rules,
    network_rules,
    objective_rules,
    rate_rules,
    saving_rules,
    training_rules,
)
from sd_scripts.options.rules.registry import RULES, Rule, run_rules

__all__ = ["MODULES", "RULES", "Rule", "run_rules"]

MODULES = (
    captioning_rules,
    course_rules,
    data_rules,
    embedding_rules,
    full_rules,
    mask_rules,
    memory_rules,
    network_rules,
    objective_rules,
    rate_rules,
    saving_rules,
    training_rules,
)
