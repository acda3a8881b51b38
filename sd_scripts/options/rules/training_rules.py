"""What must agree between network, precision, attention, timesteps and length of training."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions
from sd_scripts.options.groups.training import PerformanceOptions, TrainingOptions
from sd_scripts.options.rules.registry import rule


@rule("network_train_unet_only", "network_train_text_encoder_only")
def one_part_only(network: NetworkOptions) -> Iterator[Problem]:
    """Only the U-Net and only the text encoder leaves nothing."""
    if network.network_train_unet_only and network.network_train_text_encoder_only:
        yield Problem(
            "only the U-Net and only the text encoder exclude each other",
            "network_train_unet_only, network_train_text_encoder_only",
            "switch one off, or both to train the two",
        )


@rule(
    "network_train_unet_only",
    "network_train_text_encoder_only",
    "learning_rate",
    "unet_lr",
    "text_encoder_lr",
    "optimizer_type",
    "optimizer_args",
)
def something_learns(
    network: NetworkOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """At least one part has a learning rate above 0."""
    if optimizer.adafactor_sets_rate:
        return
    unet = network.trains_unet and optimizer.effective_unet_lr > 0
    text = network.trains_text_encoder and any(
        optimizer.effective_text_encoder_lr(index) > 0 for index in (0, 1)
    )
    both_only = network.network_train_unet_only and network.network_train_text_encoder_only
    if unet or text or both_only:
        return
    if network.network_train_unet_only:
        involved = "network_train_unet_only, unet_lr"
    elif network.network_train_text_encoder_only:
        involved = "network_train_text_encoder_only, text_encoder_lr"
    else:
        involved = "unet_lr, text_encoder_lr"
    yield Problem(
        "nothing would learn: every learning rate is 0",
        involved if optimizer.learning_rate > 0 else f"learning_rate, {involved}",
        "give a rate above 0, for example 1e-4",
    )


@rule("network_train_unet_only", "text_encoder_lr")
def unused_text_rate(
    network: NetworkOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """A rate for a part that does not learn has no effect."""
    if network.network_train_unet_only and any(optimizer.text_encoder_lr or ()):
        yield Problem(
            "the text encoder is not trained, so its learning rate has no effect",
            "text_encoder_lr, network_train_unet_only",
            "empty text_encoder_lr, or switch network_train_unet_only off",
            severity="warning",
        )


@rule("network_train_text_encoder_only", "unet_lr")
def unused_unet_rate(
    network: NetworkOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """The same for the U-Net."""
    if network.network_train_text_encoder_only and optimizer.unet_lr:
        yield Problem(
            "the U-Net is not trained, so its learning rate has no effect",
            "unet_lr, network_train_text_encoder_only",
            "empty unet_lr, or switch network_train_text_encoder_only off",
            severity="warning",
        )


@rule("cache_text_encoder_outputs", "network_train_unet_only", "text_encoder_lr", "learning_rate")
def cached_captions_cannot_learn(
    data: DataOptions, network: NetworkOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """Cached captions need text encoders that do not learn."""
    learns = network.trains_text_encoder and any(
        optimizer.effective_text_encoder_lr(index) > 0 for index in (0, 1)
    )
    if data.cache_text_encoder_outputs and learns:
        yield Problem(
            "captions can only be cached when the text encoder does not learn",
            "cache_text_encoder_outputs, network_train_unet_only",
            "switch network_train_unet_only on, or cache_text_encoder_outputs off",
        )


@rule("dim_from_weights", "network_weights")
def rank_needs_file(network: NetworkOptions) -> Iterator[Problem]:
    """A rank can only be taken from a file that is given."""
    if network.dim_from_weights and network.network_weights is None:
        yield Problem(
            "there is no LoRA to take the rank from",
            "dim_from_weights, network_weights",
            "choose a LoRA in network_weights, or switch dim_from_weights off",
        )


@rule("dim_from_weights", "network_dim", "conv_dim")
def rank_given_twice(network: NetworkOptions) -> Iterator[Problem]:
    """A rank beside dim_from_weights is not used."""
    if network.dim_from_weights and (network.network_dim or network.conv_dim):
        yield Problem(
            "ranks are taken from the file in network_weights; those given here are not used",
            "dim_from_weights, network_dim",
            "empty network_dim and conv_dim, or switch dim_from_weights off",
            severity="warning",
        )


@rule("full_fp16", "mixed_precision")
def full_fp16_needs_fp16(performance: PerformanceOptions) -> Iterator[Problem]:
    """Weights in fp16 go with calculating in fp16."""
    if performance.full_fp16 and performance.mixed_precision != "fp16":
        yield Problem(
            f"full_fp16 does not go with mixed_precision {performance.mixed_precision}",
            "full_fp16, mixed_precision",
            "set mixed_precision to fp16, or switch full_fp16 off",
        )


@rule("full_bf16", "mixed_precision")
def full_bf16_needs_bf16(performance: PerformanceOptions) -> Iterator[Problem]:
    """Weights in bf16 go with calculating in bf16."""
    if performance.full_bf16 and performance.mixed_precision != "bf16":
        yield Problem(
            f"full_bf16 does not go with mixed_precision {performance.mixed_precision}",
            "full_bf16, mixed_precision",
            "set mixed_precision to bf16, or switch full_bf16 off",
        )


@rule("sdpa", "xformers", "mem_eff_attn")
def one_attention(performance: PerformanceOptions) -> Iterator[Problem]:
    """One way to calculate attention is chosen at most."""
    chosen = [
        name
        for name, on in (
            ("sdpa", performance.sdpa),
            ("xformers", performance.xformers),
            ("mem_eff_attn", performance.mem_eff_attn),
        )
        if on
    ]
    if len(chosen) > 1:
        yield Problem(
            "several kinds of attention are chosen",
            ", ".join(chosen),
            "keep one; sdpa is right for nearly every machine",
        )


@rule("min_timestep", "max_timestep")
def timesteps_in_order(objective: ObjectiveOptions) -> Iterator[Problem]:
    """The first timestep lies below the last."""
    first, end = objective.timestep_range
    if first >= end:
        yield Problem(
            f"the first timestep {first} is not below the last {end}",
            "min_timestep, max_timestep",
            "the whole range is 0 to 1000",
        )


@rule("max_train_steps", "max_train_epochs")
def one_length(training: TrainingOptions) -> Iterator[Problem]:
    """Epochs win over steps; who set both should know."""
    default = TrainingOptions.model_fields["max_train_steps"].default
    if training.max_train_epochs is not None and training.max_train_steps != default:
        yield Problem(
            "both epochs and steps are given; the epochs decide",
            "max_train_steps, max_train_epochs",
            "empty the one you do not mean",
            severity="warning",
        )
