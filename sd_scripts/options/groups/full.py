"""Options of the trainers whose result is a whole model: Dreambooth and fine-tune."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.optimizer import OptimizerOptions, Rate
from sd_scripts.options.groups.saving import FileFormat, SavingOptions
from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import PathText, UnfitError

NUM_BLOCKS: Final = 23
"""Parts of SDXL's U-Net with a learning rate each: embeddings, 9 down, 3 middle, 9 up, output."""
_WITH_CLASS = Applies(when=(("class_prompt", ()),))


def parse_block_rates(text: str) -> tuple[float, ...]:
    """Read learning rates by block from a text of numbers and commas."""
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        rates = ()
    if len(rates) != NUM_BLOCKS or not all(0 <= rate <= 1000 for rate in rates):
        raise UnfitError(
            f"these are not {NUM_BLOCKS} learning rates",
            f"write {NUM_BLOCKS} numbers of at least 0 with commas between them",
        )
    return rates


def _block_rates_fit(text: str) -> str:
    parse_block_rates(text)
    return text


class FullOptimizerOptions(OptimizerOptions):
    """Optimizer and learning rates of a whole model."""

    learning_rate: Annotated[
        Rate,
        Opt(
            "Learning rate",
            typical=(
                "LoRA: 1e-4 to 2e-4. Whole model: 1e-6 to 1e-5. New word: 1e-3 to 5e-3. "
                "Prodigy and D-Adaptation: 1"
            ),
            cost="None: it decides how soon a run is good, and how soon it is too much.",
            tier="basic",
            keywords=("lr",),
            records=True,
        ),
    ] = 2e-6
    """How far weights move in a step. Usual for a whole model: 1e-6 to 1e-5 with AdamW, 1 with
    Prodigy. Too high burns the pictures, too low learns nothing."""

    learning_rate_te: Annotated[
        Rate | None, Opt("Learning rate of the text encoder", records=True)
    ] = None
    """Learning rate of the part that reads, of both such parts of SDXL. Empty: learning_rate. 0:
    it does not learn."""

    learning_rate_te1: Annotated[
        Rate | None, Opt("Learning rate of encoder 1", tier="expert", records=True)
    ] = None
    """Learning rate of SDXL's first text encoder. Empty: learning_rate_te. 0: it does not learn."""

    learning_rate_te2: Annotated[
        Rate | None,
        Opt(
            "Learning rate of encoder 2",
            tier="expert",
            applies=Applies(families=("sdxl",)),
            records=True,
        ),
    ] = None
    """Learning rate of SDXL's second text encoder. Empty: learning_rate_te. 0: it does not
    learn."""

    block_lr: Annotated[
        Annotated[str, AfterValidator(_block_rates_fit)] | None,
        Opt(
            "Learning rates by block",
            tier="expert",
            applies=Applies(families=("sdxl",)),
            records=True,
        ),
    ] = None
    """23 learning rates for the parts of SDXL's U-Net, with commas between them: embeddings, 9 on
    the way down, 3 in the middle, 9 on the way up, output. 0: that part does not learn. Empty:
    learning_rate for all."""

    @property
    def block_rates(self) -> tuple[float, ...] | None:
        """`block_lr` as numbers."""
        return None if self.block_lr is None else parse_block_rates(self.block_lr)

    def text_encoder_rate(self, index: int) -> float:
        """Learning rate of the text encoder at `index` (0, or 1 for SDXL's second)."""
        own = (self.learning_rate_te1, self.learning_rate_te2)[index]
        for rate in (own, self.learning_rate_te):
            if rate is not None:
                return rate
        return self.learning_rate


class FullSavingOptions(SavingOptions):
    """Models that come out."""

    save_model_as: Annotated[
        Literal["safetensors", "ckpt", "diffusers", "diffusers_safetensors"] | None,
        Opt(
            "File format",
            choice_help=(
                ("safetensors", "one file, safe and read everywhere"),
                ("ckpt", "one file of the old kind"),
                ("diffusers", "a folder as diffusers has it, weights of the old kind"),
                ("diffusers_safetensors", "a folder as diffusers has it, weights in safetensors"),
            ),
        ),
    ] = None
    """Format of the trained model. Empty: as the model it started from, a file (safetensors) or a
    folder (diffusers_safetensors)."""

    use_safetensors: Annotated[bool, Opt("Always safetensors", tier="expert")] = False
    """Writes safetensors where save_model_as says ckpt or diffusers."""

    def format_of(self, *, from_folder: bool) -> FileFormat:
        """The format that is written: as chosen, or as the model was that training started from."""
        chosen = self.save_model_as
        if chosen is None:
            return "diffusers_safetensors" if from_folder else "safetensors"
        if self.use_safetensors:
            return "safetensors" if chosen in ("ckpt", "safetensors") else "diffusers_safetensors"
        return chosen


class FullDataOptions(DataOptions):
    """Pictures, and those of their subject's class."""

    class_prompt: Annotated[
        str | None, Field(min_length=1, max_length=500), Opt("Prompt of the class")
    ] = None
    """What your subject is one of, such as: a photo of a dog. If there are fewer regularisation
    pictures than num_class_images, the model paints the others before it is trained."""

    num_class_images: Annotated[
        int,
        Field(ge=1, le=100_000),
        Opt(
            "Pictures of the class",
            cost=(
                "Each is painted once with 30 steps or so, which takes as long as about "
                "20 training steps, and is kept for later runs."
            ),
            unit="pictures",
            applies=_WITH_CLASS,
        ),
    ] = 100
    """How many pictures of the class there shall be, your own among them. Usual: 100 to 300."""

    class_data_dir: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Painted pictures", tier="expert", path="output_folder", applies=_WITH_CLASS),
    ] = None
    """Where painted pictures of the class are kept; those that are there already count. Empty: in
    the cache folder, for each model and prompt."""


class FullOptions(Options):
    """What learns."""

    title: ClassVar[str] = "What learns"

    train_text_encoder: Annotated[
        bool,
        Opt(
            "Train the text encoder",
            typical="On for a person or thing with SD 1.x, off for styles and for SDXL",
            cost=(
                "For SD 1.x, 123 million more numbers learn: with AdamW in 32 bits 2 "
                "GB, with weights, gradients and what the optimizer keeps."
            ),
            records=True,
        ),
    ] = False
    """Also trains the part that reads. It learns new words sooner, forgets old ones sooner, and
    takes memory."""

    @property
    def text_encoder_steps(self) -> int | None:
        """How many steps the text encoder learns; None: all."""
        return None if self.train_text_encoder else 0


class TrainDbOptions(FullOptions):
    """What learns in a Dreambooth training, and how long."""

    train_text_encoder: Annotated[
        bool,
        Opt(
            "Train the text encoder",
            typical="On for a person or thing with SD 1.x, off for styles and for SDXL",
            cost=(
                "For SD 1.x, 123 million more numbers learn: with AdamW in 32 bits 2 "
                "GB, with weights, gradients and what the optimizer keeps."
            ),
            records=True,
        ),
    ] = True
    """Also trains the part that reads. It learns new words sooner, forgets old ones sooner, and
    takes memory."""

    stop_text_encoder_training: Annotated[
        int | None,
        Field(ge=-1),
        Opt("Train it for n steps", unit="steps", records=True),
    ] = None
    """The text encoder learns in this many steps only; -1 or 0: not at all. Empty: to the end.
    Usual: a third of all steps."""

    @property
    def text_encoder_steps(self) -> int | None:
        """How many steps the text encoder learns; None: all."""
        if not self.train_text_encoder:
            return 0
        steps = self.stop_text_encoder_training
        return None if steps is None else max(0, steps)
