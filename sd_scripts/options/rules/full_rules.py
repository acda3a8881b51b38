"""What must agree when a whole model learns, when steps are fused and weights averaged."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.explain import plain_number
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.full import (
    FullDataOptions,
    FullOptimizerOptions,
    FullOptions,
    TrainDbOptions,
)
from sd_scripts.options.groups.optimizer import OptimizerOptions
from sd_scripts.options.groups.training import PerformanceOptions, TrainingOptions
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.options.rules.registry import rule

_TEXT_RATES = ("learning_rate_te", "learning_rate_te1", "learning_rate_te2")


@rule("cache_text_encoder_outputs", "train_text_encoder")
def cached_captions_of_an_encoder(data: DataOptions, full: FullOptions) -> Iterator[Problem]:
    """Captions that are encoded once leave the text encoder as it is."""
    if data.cache_text_encoder_outputs and full.train_text_encoder:
        yield Problem(
            "captions cannot be encoded once while the text encoder learns",
            "cache_text_encoder_outputs, train_text_encoder",
            "switch one of the two off",
        )


@rule("stop_text_encoder_training", "train_text_encoder")
def stop_what_learns(full: TrainDbOptions) -> Iterator[Problem]:
    """What does not learn cannot be stopped."""
    if not full.train_text_encoder and (full.stop_text_encoder_training or 0) > 0:
        yield Problem(
            "the text encoder is not trained, so it is not stopped either",
            "stop_text_encoder_training, train_text_encoder",
            "switch train_text_encoder on, or empty stop_text_encoder_training",
            severity="warning",
        )


@rule("train_text_encoder", *_TEXT_RATES)
def unused_encoder_rate(full: FullOptions, optimizer: FullOptimizerOptions) -> Iterator[Problem]:
    """A rate for a part that does not learn has no effect."""
    if full.train_text_encoder:
        return
    chosen = optimizer.model_dump(include=set(_TEXT_RATES))
    for name in _TEXT_RATES:
        if chosen[name]:
            yield Problem(
                "the text encoder is not trained, so its learning rate has no effect",
                f"{name}, train_text_encoder",
                f"switch train_text_encoder on, or empty {name}",
                severity="warning",
            )


@rule("optimizer_type", "optimizer_args", "train_text_encoder", "learning_rate", *_TEXT_RATES)
def one_rate_for_the_model(full: FullOptions, optimizer: FullOptimizerOptions) -> Iterator[Problem]:
    """An optimizer that finds the rate finds one for everything."""
    entry = OPTIMIZERS[optimizer.optimizer_type]
    if not entry.sets_own_rate or entry.rates_may_differ or not full.train_text_encoder:
        return
    rates = {optimizer.learning_rate, *(optimizer.text_encoder_rate(n) for n in (0, 1))}
    if len(rates - {0}) > 1:
        yield Problem(
            f"{entry.name} finds one learning rate for everything, so the rates cannot differ",
            "optimizer_type, learning_rate_te",
            "set learning_rate to 1 and empty the others (0 still means: does not learn)",
        )


@rule("optimizer_type", "optimizer_args", "block_lr")
def block_rates_need_a_rate(optimizer: FullOptimizerOptions) -> Iterator[Problem]:
    """Rates by block need an optimizer that takes rates."""
    entry = OPTIMIZERS[optimizer.optimizer_type]
    own = optimizer.adafactor_sets_rate or (entry.sets_own_rate and not entry.rates_may_differ)
    if optimizer.block_lr is not None and own:
        yield Problem(
            f"{entry.name} chooses the learning rate itself, so blocks cannot have rates",
            "block_lr, optimizer_type",
            "empty block_lr, or choose another optimizer (or relative_step=False for Adafactor)",
        )


@rule("optimizer_type", "optimizer_args", "learning_rate")
def rate_of_a_whole_model(optimizer: FullOptimizerOptions) -> Iterator[Problem]:
    """A LoRA's rate breaks a whole model; told before a night is lost."""
    entry = OPTIMIZERS[optimizer.optimizer_type]
    if optimizer.adafactor_sets_rate or entry.sets_own_rate:
        if entry.sets_own_rate and 0 < optimizer.learning_rate <= 0.1:
            yield Problem(
                f"{entry.name} finds the learning rate itself and multiplies it by this one, which "
                "is very small",
                "learning_rate, optimizer_type",
                "set learning_rate to 1",
                severity="warning",
            )
        return
    highest = entry.usual_rates[1] / 100
    if optimizer.learning_rate > highest:
        yield Problem(
            f"{plain_number(optimizer.learning_rate)} is so high that a whole model is likely to "
            "break",
            "learning_rate",
            f"usual with {entry.name} are {plain_number(highest / 100)} to "
            f"{plain_number(highest / 10)}",
            severity="warning",
        )


@rule("class_prompt", "dataset_config")
def class_beside_a_dataset_file(data: FullDataOptions) -> Iterator[Problem]:
    """A dataset file brings its own regularisation pictures."""
    if data.class_prompt is not None and data.dataset_config is not None:
        yield Problem(
            "pictures of the class are not painted for a dataset file",
            "class_prompt, dataset_config",
            "empty class_prompt and put a folder with is_reg = true into the dataset file, or give "
            "your pictures in train_data_dir",
        )


@rule("class_prompt", "prior_loss_weight")
def class_without_weight(data: FullDataOptions) -> Iterator[Problem]:
    """Pictures that count nothing need not be painted."""
    if data.class_prompt is not None and not data.prior_loss_weight:
        yield Problem(
            "pictures of the class would be painted and then count nothing",
            "class_prompt, prior_loss_weight",
            "set prior_loss_weight to 1, or empty class_prompt",
        )


@rule("class_data_dir", "train_data_dir", "reg_data_dir")
def class_has_its_own_folder(data: FullDataOptions) -> Iterator[Problem]:
    """Nothing is written beside the user's own pictures."""
    for name, folder in (
        ("train_data_dir", data.train_data_dir),
        ("reg_data_dir", data.reg_data_dir),
    ):
        if folder is not None and folder == data.class_data_dir:
            yield Problem(
                "painted pictures must not lie among your own",
                f"class_data_dir, {name}",
                "choose another folder for them, or empty class_data_dir",
            )


@rule("fused_backward_pass", "fused_optimizer_groups")
def one_way_to_fuse(performance: PerformanceOptions) -> Iterator[Problem]:
    """Stepping weight by weight and in groups exclude each other."""
    if performance.fused_backward_pass and performance.fused_optimizer_groups is not None:
        yield Problem(
            "fused_backward_pass takes a step for each weight by itself, so there are no groups",
            "fused_backward_pass, fused_optimizer_groups",
            "keep fused_backward_pass, which needs the least memory, and empty the other",
        )


@rule("fused_backward_pass", "fused_optimizer_groups", "gradient_accumulation_steps")
def fused_steps_at_once(
    performance: PerformanceOptions, training: TrainingOptions
) -> Iterator[Problem]:
    """A gradient that is used at once cannot be gathered."""
    if performance.fused_option and training.gradient_accumulation_steps > 1:
        yield Problem(
            "each gradient is used and dropped at once, so none can be gathered over batches",
            f"{performance.fused_option}, gradient_accumulation_steps",
            "set gradient_accumulation_steps to 1 and raise train_batch_size, or switch "
            f"{performance.fused_option} off",
        )


@rule("fused_backward_pass", "fused_optimizer_groups", "mixed_precision")
def fused_without_scaler(performance: PerformanceOptions) -> Iterator[Problem]:
    """fp16 needs to see all gradients before any weight moves."""
    if performance.fused_option and performance.mixed_precision == "fp16":
        yield Problem(
            "fp16 has to see all gradients before any weight may move",
            f"{performance.fused_option}, mixed_precision",
            f"choose bf16 or no, or switch {performance.fused_option} off",
        )


@rule("fused_backward_pass", "fused_optimizer_groups", "optimizer_type")
def fused_by_parts(
    performance: PerformanceOptions, optimizer: OptimizerOptions
) -> Iterator[Problem]:
    """An optimizer that finds its rate looks at all weights together."""
    if performance.fused_option and OPTIMIZERS[optimizer.optimizer_type].sets_own_rate:
        yield Problem(
            f"{optimizer.optimizer_type} finds its rate by looking at all gradients together, so "
            "it cannot move one weight at a time",
            f"{performance.fused_option}, optimizer_type",
            f"choose AdamW8bit or Adafactor, or switch {performance.fused_option} off",
        )


@rule("fused_backward_pass", "fused_optimizer_groups", "max_grad_norm")
def fused_clipping(
    performance: PerformanceOptions, optimizer: OptimizerOptions
) -> Iterator[Problem]:
    """The norm of all gradients is not known before the last of them is there."""
    if performance.fused_option and optimizer.max_grad_norm:
        yield Problem(
            "each tensor's gradient is shortened to max_grad_norm by itself, as in sd-scripts, not "
            "all of them together",
            f"{performance.fused_option}, max_grad_norm",
            "set max_grad_norm to 0 to shorten none",
            severity="warning",
        )


@rule("use_ema", "optimizer_type")
def one_average(training: TrainingOptions, optimizer: OptimizerOptions) -> Iterator[Problem]:
    """A schedule-free optimizer is an average already."""
    if training.use_ema and OPTIMIZERS[optimizer.optimizer_type].schedule_free:
        yield Problem(
            f"{optimizer.optimizer_type} averages the weights itself",
            "use_ema, optimizer_type",
            "switch use_ema off, or choose another optimizer",
        )
