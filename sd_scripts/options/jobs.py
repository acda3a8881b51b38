"""The jobs: each is a frozen composition of groups of options."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, model_validator

from sd_scripts.errors import raise_if_errors
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.captioning import (
    CaptionerOptions,
    InferenceOptions,
    PictureFolderOptions,
    RunningOptions,
    SentenceFileOptions,
    TagFileOptions,
    TaggerOptions,
    TagOptions,
    WordingOptions,
)
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.embedding import EmbeddingOptions, TextualInversionOptions
from sd_scripts.options.groups.full import (
    FullDataOptions,
    FullOptimizerOptions,
    FullOptions,
    FullSavingOptions,
    TrainDbOptions,
)
from sd_scripts.options.groups.masking import MaskOptions
from sd_scripts.options.groups.metadata import MetadataOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions, OptimizerOptions
from sd_scripts.options.groups.painting import PaintingOptions
from sd_scripts.options.groups.picture_check import PictureCheckOptions
from sd_scripts.options.groups.picture_prepare import (
    NewFolderOptions,
    NewPictureOptions,
    SourceFolderOptions,
)
from sd_scripts.options.groups.picture_source import PictureSourceOptions
from sd_scripts.options.groups.saving import (
    LoggingOptions,
    NetworkSavingOptions,
    PreviewOptions,
    SavingOptions,
)
from sd_scripts.options.groups.slicing import SlicingOptions
from sd_scripts.options.groups.training import PerformanceOptions, TrainingOptions
from sd_scripts.options.groups.validation import ValidationOptions
from sd_scripts.options.rules.all_rules import run_rules
from sd_scripts.options.schema import Options, group_types
from sd_scripts.options.types import UnfitError, check_file_name


class Job(BaseModel):
    """A whole job. One that exists is free of errors: rules between options are checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    positional: ClassVar[str | None] = None
    """An option whose value may stand on the command line without its name."""

    def groups(self) -> dict[str, Options]:
        """The groups of options by attribute name."""
        return {name: getattr(self, name) for name in group_types(type(self))}

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        raise_if_errors(run_rules(self.groups()))
        return self


class TrainingJob(Job):
    """A job that trains on pictures: what all trainers have in common.

    Where a trainer has more or other options in a group, its job has a subclass of that group.
    """

    tracker_name: ClassVar[str]
    """What trackers call such runs unless `log_tracker_name` says otherwise."""
    shape_options: ClassVar[str]
    """The options that decide what learns, and so what a training state holds."""

    model: ModelOptions
    data: DataOptions
    caption: CaptionOptions = CaptionOptions()
    training: TrainingOptions = TrainingOptions()
    performance: PerformanceOptions = PerformanceOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    objective: ObjectiveOptions = ObjectiveOptions()
    saving: SavingOptions = SavingOptions()
    preview: PreviewOptions = PreviewOptions()
    validation: ValidationOptions = ValidationOptions()
    metadata: MetadataOptions = MetadataOptions()
    logging: LoggingOptions = LoggingOptions()

    @property
    def input_files(self) -> dict[str, str | None]:
        """The files and folders that a method's own options name, by option."""
        return {}

    @property
    def new_word(self) -> EmbeddingOptions | None:
        """The new word that is learned, if there is one."""
        return None

    @property
    def result_name(self) -> str | None:
        """What the trained files are called, if anything says so."""
        return self.saving.output_name

    @property
    def companions(self) -> tuple[str, ...]:
        """What is added to the name of a trained file for each that is saved beside it."""
        return ()

    @property
    def file_ending(self) -> str:
        """The ending of what is saved, with its dot; empty for a folder."""
        return f".{self.saving.save_model_as or 'safetensors'}"

    @property
    def learning_parts(self) -> frozenset[str]:
        """Which parts of the model learn with their own weights: "unet", "text_encoders"."""
        return frozenset()


def _is_file_name(word: str) -> bool:
    try:
        return check_file_name(word) == word
    except UnfitError:
        return False


class TrainNetworkJob(TrainingJob):
    """Train a LoRA on a folder of pictures."""

    name: ClassVar[str] = "train_network"
    title: ClassVar[str] = "LoRA"
    tracker_name: ClassVar[str] = "network_train"
    shape_options: ClassVar[str] = "network_dim, network_args"

    network: NetworkOptions = NetworkOptions()
    embedding: EmbeddingOptions = EmbeddingOptions()
    optimizer: NetworkOptimizerOptions = NetworkOptimizerOptions()
    saving: NetworkSavingOptions = NetworkSavingOptions()

    @property
    def input_files(self) -> dict[str, str | None]:
        """The files to start from."""
        return {
            "network_weights": self.network.network_weights,
            "weights": self.embedding.weights,
        }

    @property
    def new_word(self) -> EmbeddingOptions | None:
        """The new word that is learned together with the network, if one is named."""
        return self.embedding if self.embedding.token_string is not None else None

    @property
    def companions(self) -> tuple[str, ...]:
        """The embedding of a new word has a file of its own beside the network's."""
        return ("_emb",) if self.new_word is not None else ()


class RankLossesJob(TrainNetworkJob):
    """Rank the pictures of a training by their loss, to find wrong captions; nothing is trained.

    It reads the file of the training itself, and is no form of its own. With network_weights the
    trained network is measured, without it the model.
    """

    name: ClassVar[str] = "rank_losses"
    title: ClassVar[str] = "Ranking of pictures"


class TrainTextualInversionJob(TrainingJob):
    """Learn a new word for what is on a folder of pictures; the model stays as it is."""

    name: ClassVar[str] = "train_textual_inversion"
    title: ClassVar[str] = "Textual Inversion"
    tracker_name: ClassVar[str] = "textual_inversion"
    shape_options: ClassVar[str] = "num_vectors_per_token"

    embedding: TextualInversionOptions
    saving: NetworkSavingOptions = NetworkSavingOptions()

    @property
    def input_files(self) -> dict[str, str | None]:
        """The file to start from."""
        return {"weights": self.embedding.weights}

    @property
    def new_word(self) -> EmbeddingOptions:
        """The word that is learned."""
        return self.embedding

    @property
    def result_name(self) -> str | None:
        """The word is the file's name unless `output_name` says otherwise, where it can be."""
        word = self.embedding.token_string
        return self.saving.output_name or (word if _is_file_name(word) else None)


class WholeModelJob(TrainingJob):
    """Train the weights of a model itself; the result is a whole model."""

    shape_options: ClassVar[str] = "train_text_encoder"

    data: FullDataOptions
    full: FullOptions = FullOptions()
    optimizer: FullOptimizerOptions = FullOptimizerOptions()
    saving: FullSavingOptions = FullSavingOptions()

    @property
    def model_format(self) -> str:
        """The format of what is saved: chosen, or that of the model it starts from."""
        base = Path(self.model.pretrained_model_name_or_path).expanduser()
        return self.saving.format_of(from_folder=base.is_dir())

    @property
    def file_ending(self) -> str:
        """The ending of what is saved, with its dot; empty for a folder."""
        chosen = self.model_format
        return "" if chosen.startswith("diffusers") else f".{chosen}"

    @property
    def learning_parts(self) -> frozenset[str]:
        """The U-Net, and the text encoders if they are trained at all."""
        text = ["text_encoders"] if self.full.text_encoder_steps != 0 else []
        return frozenset(["unet", *text])


class TrainDbJob(WholeModelJob):
    """Teach a whole model a subject from a folder of pictures, with pictures of its class."""

    name: ClassVar[str] = "train_db"
    title: ClassVar[str] = "Dreambooth"
    tracker_name: ClassVar[str] = "dreambooth"

    full: TrainDbOptions = TrainDbOptions()


class FineTuneJob(WholeModelJob):
    """Train a whole model on many pictures, from a metadata file or folders."""

    name: ClassVar[str] = "fine_tune"
    title: ClassVar[str] = "Fine-tune"
    tracker_name: ClassVar[str] = "finetuning"


class TagImagesJob(Job):
    """Write tags for a folder of pictures, as a WD14 tagger sees them."""

    name: ClassVar[str] = "tag_images_by_wd14_tagger"
    title: ClassVar[str] = "Tagging"
    positional: ClassVar[str | None] = "train_data_dir"

    pictures: PictureFolderOptions
    tagger: TaggerOptions = TaggerOptions()
    tags: TagOptions = TagOptions()
    files: TagFileOptions = TagFileOptions()
    inference: InferenceOptions = InferenceOptions()


class MakeCaptionsJob(Job):
    """Write a sentence for each picture of a folder, with BLIP or another captioner."""

    name: ClassVar[str] = "make_captions"
    title: ClassVar[str] = "Captioning"
    positional: ClassVar[str | None] = "train_data_dir"

    pictures: PictureFolderOptions
    captioner: CaptionerOptions = CaptionerOptions()
    wording: WordingOptions = WordingOptions()
    files: SentenceFileOptions = SentenceFileOptions()
    inference: InferenceOptions = InferenceOptions()


class MakeMasksJob(Job):
    """Make a mask of what is in front for each picture of a folder, with a model of your own."""

    name: ClassVar[str] = "make_masks"
    title: ClassVar[str] = "Masks"
    positional: ClassVar[str | None] = "train_data_dir"

    pictures: PictureFolderOptions
    masks: MaskOptions
    inference: RunningOptions = RunningOptions()


class CheckPicturesJob(Job):
    """Examine pictures and captions, and say what would spoil a training. Nothing is changed."""

    name: ClassVar[str] = "check_pictures"
    title: ClassVar[str] = "Doctor"
    positional: ClassVar[str | None] = "train_data_dir"

    data: PictureSourceOptions
    checks: PictureCheckOptions = PictureCheckOptions()


class PreparePicturesJob(Job):
    """Make a new folder of pictures, scaled, cropped, converted and laid out for training."""

    name: ClassVar[str] = "prepare_pictures"
    title: ClassVar[str] = "Prepared pictures"
    positional: ClassVar[str | None] = "train_data_dir"

    pictures: SourceFolderOptions
    folder: NewFolderOptions
    copies: NewPictureOptions = NewPictureOptions()


class SliceDyloraJob(Job):
    """Cut a DyLoRA file into LoRA files of every rank that was trained."""

    name: ClassVar[str] = "slice_dylora"
    title: ClassVar[str] = "DyLoRA cut to ranks"

    slicing: SlicingOptions


class TryPromptsJob(Job):
    """Keep a model in memory and paint what is ordered from it, with LoRAs and embeddings.

    Orders are files in the run's folder, one for each set of pictures; each names its own model,
    and one model at a time stays loaded. The page Try it writes them.
    """

    name: ClassVar[str] = "try_prompts"
    title: ClassVar[str] = "Trying prompts"

    painting: PaintingOptions = PaintingOptions()


JOBS: Final[dict[str, type[Job]]] = {
    job.name: job
    for job in (
        TrainNetworkJob,
        TrainDbJob,
        FineTuneJob,
        TrainTextualInversionJob,
        TagImagesJob,
        MakeCaptionsJob,
        MakeMasksJob,
        CheckPicturesJob,
        PreparePicturesJob,
        SliceDyloraJob,
        TryPromptsJob,
    )
}
