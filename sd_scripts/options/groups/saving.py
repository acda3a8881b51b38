"""Options that say what is saved, where, when and how much of it is kept."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import FileName, PathText

Count = Annotated[int | None, Field(ge=1, le=1_000_000_000)]
SamplerName = Literal[
    "ddim",
    "pndm",
    "lms",
    "euler",
    "euler_a",
    "heun",
    "dpm_2",
    "dpm_2_a",
    "dpmsolver",
    "dpmsolver++",
    "dpmsingle",
    "k_lms",
    "k_euler",
    "k_euler_a",
    "k_dpm_2",
    "k_dpm_2_a",
]

FileFormat = Literal["safetensors", "ckpt", "pt", "diffusers", "diffusers_safetensors"]


class SavingOptions(Options):
    """Files that come out; each trainer narrows the formats to those it writes."""

    title: ClassVar[str] = "Saving"

    output_dir: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Output folder", tier="basic", path="output_folder", keywords=("output",)),
    ] = None
    """Where the trained files go; made if it does not exist. Empty: the run's own output
    folder."""

    output_name: Annotated[
        FileName | None,
        Field(min_length=1, max_length=150),
        Opt("Name", tier="basic", keywords=("name",), records=True),
    ] = None
    """Name of the trained file, without ending. Empty: last."""

    save_model_as: Annotated[FileFormat | None, Opt("File format", tier="expert")] = None
    """Format of what is trained."""

    save_precision: Annotated[
        Literal["float", "fp16", "bf16"] | None,
        Opt("Precision of the file", typical="fp16", off_values=("no",)),
    ] = None
    """Precision of the saved weights; fp16 and bf16 take half the space of float. Empty: as
    trained."""

    save_every_n_epochs: Annotated[
        Count,
        Opt(
            "Save every n epochs",
            typical="1 or 2",
            cost="Disk only: each file is as large as the last one.",
            tier="basic",
            unit="epochs",
            off_values=(0,),
        ),
    ] = None
    """Also saves after every n-th epoch, so that the best one can be chosen. Empty: only at the
    end."""

    save_every_n_steps: Annotated[
        Count,
        Opt(
            "Save every n steps",
            typical="250 to 1000",
            cost="Disk only: each file is as large as the last one.",
            unit="steps",
            off_values=(0,),
        ),
    ] = None
    """Also saves after every n-th step. Empty: not."""

    save_n_epoch_ratio: Annotated[
        Count, Opt("Number of saves", tier="expert", unit="files", off_values=(0,))
    ] = None
    """Saves about this many times over the run, at ends of epochs. Wins over
    save_every_n_epochs."""

    save_last_n_epochs: Annotated[
        Count, Opt("Keep the last n epochs", unit="epochs", off_values=(0,))
    ] = None
    """Deletes older files saved by epoch, except those of the last n epochs. Empty: keeps all."""

    save_last_n_steps: Annotated[
        Count, Opt("Keep the last n steps", unit="steps", off_values=(0,))
    ] = None
    """Deletes older files saved by step, except those of the last n steps. Empty: keeps all."""

    save_last_n_epochs_state: Annotated[
        Count, Opt("Keep states of n epochs", tier="expert", unit="epochs", off_values=(0,))
    ] = None
    """The same for training states; takes the place of save_last_n_epochs there."""

    save_last_n_steps_state: Annotated[
        Count, Opt("Keep states of n steps", tier="expert", unit="steps", off_values=(0,))
    ] = None
    """The same for training states; takes the place of save_last_n_steps there."""

    save_state: Annotated[
        bool,
        Opt(
            "Save training state",
            typical="On for runs of hours",
            cost=(
                "With AdamW, a state holds the weights and two more numbers for each, "
                "all in 32 bits: three to six times the file."
            ),
            keywords=("state",),
        ),
    ] = False
    """With every saved file, also saves what is needed to go on exactly there (see resume). Takes
    several times the space of the file."""

    save_state_on_train_end: Annotated[bool, Opt("Save state at the end")] = False
    """Saves that state only when the run ends."""

    resume: Annotated[PathText | None, Field(min_length=1), Opt("Resume from", path="folder")] = (
        None
    )
    """A saved state (a folder ending in -state). Training goes on exactly where it was, as if it
    had never stopped."""


class NetworkSavingOptions(SavingOptions):
    """Small files that come out."""

    save_model_as: Annotated[
        Literal["safetensors", "ckpt", "pt"], Opt("File format", tier="expert")
    ] = "safetensors"
    """Format of the trained file. safetensors is safe and read everywhere; ckpt and pt are old."""


class PreviewOptions(Options):
    """Pictures made while training."""

    title: ClassVar[str] = "Previews"

    sample_every_n_steps: Annotated[
        Count,
        Opt(
            "Preview every n steps",
            typical="100 to 500",
            cost=(
                "A picture of 30 steps asks the U-Net 60 times, as often as about 20 "
                "training steps with one picture of that size."
            ),
            tier="basic",
            unit="steps",
            off_values=(0,),
        ),
    ] = None
    """Makes the preview pictures after every n-th step. Empty: not."""

    sample_every_n_epochs: Annotated[
        Count,
        Opt(
            "Preview every n epochs",
            typical="1 or 2",
            cost=(
                "A picture of 30 steps asks the U-Net 60 times, as often as about 20 "
                "training steps with one picture of that size."
            ),
            tier="basic",
            unit="epochs",
            off_values=(0,),
        ),
    ] = None
    """Makes the preview pictures after every n-th epoch. Wins over sample_every_n_steps."""

    sample_at_first: Annotated[bool, Opt("Preview before training")] = False
    """Also makes them before the first step, to see where the model starts from."""

    sample_prompts: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Prompt file", tier="basic", path="file", keywords=("prompts",)),
    ] = None
    """Text file (.txt, .toml or .json) with a prompt on each line, which may end in settings such
    as --w 512 --h 768 --s 30 --d 1 --l 7.5 --n ugly."""

    sample_sampler: Annotated[
        SamplerName,
        Opt("Sampler", applies=Applies(when=(("sample_prompts", ()),)), keywords=("sampler",)),
    ] = "ddim"
    """Sampler for preview pictures. A prompt can name another with --ss."""


_WANDB = Applies(when=(("log_with", ("wandb", "all")),))


class LoggingOptions(Options):
    """Logs for other programs."""

    title: ClassVar[str] = "Logging"

    logging_dir: Annotated[
        PathText | None, Field(min_length=1), Opt("Log folder", path="output_folder")
    ] = None
    """Writes TensorBoard files into a new folder in here. Not needed for the charts in this
    program."""

    log_with: Annotated[
        Literal["tensorboard", "wandb", "all"] | None, Opt("Log with", tier="expert")
    ] = None
    """Which tracker is used: tensorboard, wandb (Weights & Biases, which sends the numbers to its
    server; log in with wandb login) or both. Empty: TensorBoard if logging_dir is set, else
    none."""

    log_prefix: Annotated[str | None, Field(min_length=1), Opt("Log prefix", tier="expert")] = None
    """Put before the name (date and time) of the log's folder."""

    log_tracker_name: Annotated[str | None, Field(min_length=1), Opt("Log name", tier="expert")] = (
        None
    )
    """Name of the log. Empty: network_train."""

    wandb_run_name: Annotated[
        str | None,
        Field(min_length=1),
        Opt("Name of the run at wandb", tier="expert", applies=_WANDB),
    ] = None
    """Name of the run in Weights & Biases. Empty: one that it makes up."""

    log_tracker_config: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Tracker settings", tier="expert", path="file", applies=_WANDB),
    ] = None
    """TOML file with a table [wandb]: further arguments of wandb.init, such as entity, group, tags
    or mode."""

    log_config: Annotated[bool, Opt("Log the settings", tier="expert")] = False
    """Gives the tracker the options of the job too, but no paths."""
