"""What must agree when the base is stored in fewer bits, or the U-Net is compiled."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.full import FullOptions
from sd_scripts.options.groups.training import PerformanceOptions
from sd_scripts.options.rules.registry import rule

_BASE = ("fp8_base", "fp8_base_unet", "quantize_base")


@rule(*_BASE)
def nothing_frozen(performance: PerformanceOptions, full: FullOptions) -> Iterator[Problem]:
    """A whole model learns with its own weights, which 8 bits are too few for."""
    del full
    if performance.base_option is not None:
        yield Problem(
            "here the model itself learns, and weights in so few bits cannot: small steps would "
            "be lost",
            performance.base_option,
            f"switch {performance.base_option} off; full_bf16 with fused_backward_pass and "
            "AdamW8bit or Adafactor saves the most memory here. Or train a LoRA",
        )


@rule(*_BASE)
def one_base_format(performance: PerformanceOptions) -> Iterator[Problem]:
    """sd-scripts' options mean fp8."""
    fp8 = "fp8_base" if performance.fp8_base else "fp8_base_unet"
    named = performance.quantize_base
    if performance.base_format == "fp8" and named not in (None, "fp8"):
        yield Problem(
            f"the base is to be stored in fp8 and in {named}",
            f"{fp8}, quantize_base",
            "keep one of the two",
        )


@rule("quantize_unet_only", *_BASE)
def part_of_nothing(performance: PerformanceOptions) -> Iterator[Problem]:
    """Only the U-Net of what is not stored otherwise at all."""
    if performance.quantize_unet_only and performance.base_format is None:
        yield Problem(
            "the base is stored as it is, so quantize_unet_only has no effect",
            "quantize_unet_only, quantize_base",
            "choose a format in quantize_base, or switch quantize_unet_only off",
            severity="warning",
        )


@rule("torch_compile", "dynamo_backend", "dynamo_mode")
def mode_of_inductor(performance: PerformanceOptions) -> Iterator[Problem]:
    """Only inductor has ways to try harder."""
    compiler, mode = performance.compiler, performance.dynamo_mode
    if compiler not in (None, "inductor") and mode != "default":
        yield Problem(
            f"{compiler} knows no mode {mode}",
            "dynamo_mode, dynamo_backend",
            "set dynamo_mode to default, or dynamo_backend to inductor",
        )


@rule("torch_compile", "dynamo_backend", "pack_frozen_weights")
def packed_and_compiled(performance: PerformanceOptions) -> Iterator[Problem]:
    """The compiler cannot look into packed weights, and lays them out itself."""
    if performance.compiler is not None and performance.pack_frozen_weights == "on":
        yield Problem(
            "weights that are packed cannot be compiled with",
            "pack_frozen_weights, torch_compile",
            "set pack_frozen_weights to auto, or switch torch_compile off",
        )
