"""What must agree between saves, states, previews and logs."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.saving import LoggingOptions, PreviewOptions, SavingOptions
from sd_scripts.options.rules.registry import rule


@rule(
    "save_last_n_epochs",
    "save_last_n_epochs_state",
    "save_every_n_epochs",
    "save_n_epoch_ratio",
)
def kept_epochs_need_saves(saving: SavingOptions) -> Iterator[Problem]:
    """Keeping the last epochs needs saves by epoch."""
    if saving.save_every_n_epochs is not None or saving.save_n_epoch_ratio is not None:
        return
    for name, value in (
        ("save_last_n_epochs", saving.save_last_n_epochs),
        ("save_last_n_epochs_state", saving.save_last_n_epochs_state),
    ):
        if value is not None:
            yield Problem(
                "nothing is saved by epoch, so there is nothing to keep or delete",
                f"{name}, save_every_n_epochs",
                f"set save_every_n_epochs, or empty {name}",
            )


@rule("save_last_n_steps", "save_last_n_steps_state", "save_every_n_steps")
def kept_steps_need_saves(saving: SavingOptions) -> Iterator[Problem]:
    """Keeping the last steps needs saves by step."""
    if saving.save_every_n_steps is not None:
        return
    for name, value in (
        ("save_last_n_steps", saving.save_last_n_steps),
        ("save_last_n_steps_state", saving.save_last_n_steps_state),
    ):
        if value is not None:
            yield Problem(
                "nothing is saved by step, so there is nothing to keep or delete",
                f"{name}, save_every_n_steps",
                f"set save_every_n_steps, or empty {name}",
            )


@rule("save_last_n_epochs_state", "save_last_n_steps_state", "save_state")
def kept_states_need_states(saving: SavingOptions) -> Iterator[Problem]:
    """Keeping the last states needs states."""
    if saving.save_state:
        return
    for name, value in (
        ("save_last_n_epochs_state", saving.save_last_n_epochs_state),
        ("save_last_n_steps_state", saving.save_last_n_steps_state),
    ):
        if value is not None:
            yield Problem(
                "no states are saved while training",
                f"{name}, save_state",
                f"switch save_state on, or empty {name}",
                severity="warning",
            )


@rule("resume", "network_weights")
def one_start(saving: SavingOptions, network: NetworkOptions) -> Iterator[Problem]:
    """A state holds the network's weights already."""
    if saving.resume is not None and network.network_weights is not None:
        yield Problem(
            "the state to resume holds the weights; the file in network_weights is not used",
            "resume, network_weights",
            "empty one of the two",
            severity="warning",
        )


@rule("save_n_epoch_ratio", "save_every_n_epochs")
def one_way_to_count_saves(saving: SavingOptions) -> Iterator[Problem]:
    """The number of saves wins over their distance."""
    if saving.save_n_epoch_ratio is not None and saving.save_every_n_epochs is not None:
        yield Problem(
            "save_n_epoch_ratio decides; save_every_n_epochs is not used",
            "save_n_epoch_ratio, save_every_n_epochs",
            "empty one of the two",
            severity="warning",
        )


@rule("sample_every_n_steps", "sample_every_n_epochs", "sample_at_first", "sample_prompts")
def previews_need_prompts(preview: PreviewOptions) -> Iterator[Problem]:
    """Previews need prompts, and prompts a time."""
    wanted = [
        name
        for name, on in (
            ("sample_every_n_steps", preview.sample_every_n_steps is not None),
            ("sample_every_n_epochs", preview.sample_every_n_epochs is not None),
            ("sample_at_first", preview.sample_at_first),
        )
        if on
    ]
    if wanted and preview.sample_prompts is None:
        yield Problem(
            "there are no prompts, so no previews will be made",
            ", ".join(["sample_prompts", *wanted]),
            "give prompts to see how the training goes",
            severity="warning",
        )
    if preview.sample_prompts is not None and not wanted:
        yield Problem(
            "prompts are given, but no time to make previews",
            "sample_prompts, sample_every_n_epochs",
            "set sample_every_n_epochs, for example to 1",
            severity="warning",
        )


@rule("sample_every_n_steps", "sample_every_n_epochs")
def one_preview_rhythm(preview: PreviewOptions) -> Iterator[Problem]:
    """Epochs win over steps, as in sd-scripts."""
    if preview.sample_every_n_steps is not None and preview.sample_every_n_epochs is not None:
        yield Problem(
            "previews are made by epoch; sample_every_n_steps is not used",
            "sample_every_n_steps, sample_every_n_epochs",
            "empty one of the two",
            severity="warning",
        )


@rule("logging_dir", "log_with")
def tracker_needs_folder(logging: LoggingOptions) -> Iterator[Problem]:
    """TensorBoard writes into a folder."""
    if logging.log_with in ("tensorboard", "all") and logging.logging_dir is None:
        yield Problem(
            f"{logging.log_with} needs a folder to write into",
            "log_with, logging_dir",
            "choose a folder in logging_dir, or empty log_with",
        )
