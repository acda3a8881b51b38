"""What was asked for: the settings of datasets and their subsets, after every fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.dataset.buckets import BucketSettings, Size
from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.validation import ValidationOptions

DEFAULT_RESOLUTIONS = {"sd1": (512, 512), "sd2": (768, 768), "sdxl": (1024, 1024)}


def native_resolution(family: str | None, prediction_type: str | None = None) -> Size:
    """The size a model was made for; SD 2.x models that predict noise are those for 512 pixels."""
    if family == "sd2" and prediction_type == "epsilon":
        return 512, 512
    return DEFAULT_RESOLUTIONS.get(family or "sd1", (512, 512))


@dataclass(frozen=True)
class SubsetSettings:
    """One folder of pictures, or the pictures of a metadata file, and how they are used.

    `class_tokens` is the caption of pictures without a caption file. `where` names the subset in
    messages, for instance "folder 10_cat" or "subset 2 of dataset 1"; `option` is the option that
    brought it in.
    """

    image_dir: Path
    where: str
    option: str = "train_data_dir"
    num_repeats: int = 1
    class_tokens: str | None = None
    is_reg: bool = False
    caption_extension: str = ".caption"
    flip_aug: bool = False
    random_crop: bool = False
    color_aug: bool = False
    face_crop_aug_range: tuple[float, float] | None = None
    resize_interpolation: str | None = None
    metadata_file: Path | None = None
    mask_dir: Path | None = None
    alpha_mask: bool = False
    rules: CaptionRules = field(default_factory=CaptionRules)


@dataclass(frozen=True)
class DatasetSettings:
    """Subsets that share one batch size, one set of buckets, and the share that is held out."""

    buckets: BucketSettings
    batch_size: int = 1
    subsets: tuple[SubsetSettings, ...] = ()
    validation_split: float = 0.0
    validation_seed: int = 0


@dataclass(frozen=True)
class Values:
    """Every setting that can be inherited: from options to [general], datasets and subsets.

    The names are those of a dataset file. Replacing some of the fields with what the next level
    says is the whole fallback rule: subset before dataset before general before options.
    """

    batch_size: int = 1
    resolution: Size | None = None
    enable_bucket: bool = False
    min_bucket_reso: int = 256
    max_bucket_reso: int = 1024
    bucket_reso_steps: int = 64
    bucket_no_upscale: bool = False
    resize_interpolation: str | None = None
    num_repeats: int = 1
    flip_aug: bool = False
    random_crop: bool = False
    color_aug: bool = False
    face_crop_aug_range: tuple[float, float] | None = None
    masked_loss: bool = False
    mask_dir: str | None = None
    alpha_mask: bool = False
    class_tokens: str | None = None
    caption_extension: str = ".caption"
    caption_separator: str = ","
    shuffle_caption: bool = False
    keep_tokens: int = 0
    keep_tokens_separator: str = ""
    secondary_separator: str | None = None
    enable_wildcard: bool = False
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: float = 0.0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0
    validation_split: float = 0.0
    validation_seed: int = 0

    @classmethod
    def of_options(
        cls,
        data: DataOptions,
        caption: CaptionOptions,
        validation: ValidationOptions | None = None,
    ) -> Values:
        """The lowest level: what the job's options say."""
        validation = validation or ValidationOptions()
        return cls(
            batch_size=data.train_batch_size,
            resolution=data.resolution,
            enable_bucket=data.enable_bucket,
            min_bucket_reso=data.min_bucket_reso,
            max_bucket_reso=data.max_bucket_reso,
            bucket_reso_steps=data.bucket_reso_steps,
            bucket_no_upscale=data.bucket_no_upscale,
            resize_interpolation=data.resize_interpolation,
            num_repeats=data.dataset_repeats,
            flip_aug=data.flip_aug,
            random_crop=data.random_crop,
            color_aug=data.color_aug,
            face_crop_aug_range=data.face_crop_range,
            masked_loss=data.masked_loss,
            mask_dir=data.conditioning_data_dir,
            alpha_mask=data.alpha_mask,
            caption_extension=caption.caption_extension,
            caption_separator=caption.caption_separator,
            shuffle_caption=caption.shuffle_caption,
            keep_tokens=caption.keep_tokens,
            keep_tokens_separator=caption.keep_tokens_separator,
            secondary_separator=caption.secondary_separator,
            enable_wildcard=caption.enable_wildcard,
            caption_prefix=caption.caption_prefix,
            caption_suffix=caption.caption_suffix,
            caption_dropout_rate=caption.caption_dropout_rate,
            caption_dropout_every_n_epochs=caption.caption_dropout_every_n_epochs,
            caption_tag_dropout_rate=caption.caption_tag_dropout_rate,
            token_warmup_min=caption.token_warmup_min,
            token_warmup_step=caption.token_warmup_step,
            validation_split=validation.validation_split,
            validation_seed=validation.validation_seed or 0,
        )

    def dataset(self, subsets: Sequence[SubsetSettings], family: str | None) -> DatasetSettings:
        """A dataset of `subsets` with these values."""
        return DatasetSettings(
            self.buckets(family),
            self.batch_size,
            tuple(subsets),
            self.validation_split,
            self.validation_seed,
        )

    def buckets(self, family: str | None) -> BucketSettings:
        """Bucket settings; without a resolution, it is what models of `family` were made for."""
        return BucketSettings(
            resolution=self.resolution or native_resolution(family),
            enable_bucket=self.enable_bucket,
            min_size=self.min_bucket_reso,
            max_size=self.max_bucket_reso,
            step=self.bucket_reso_steps,
            no_upscale=self.bucket_no_upscale,
        )

    def subset(
        self, image_dir: Path, where: str, option: str, *, is_reg: bool = False
    ) -> SubsetSettings:
        """The settings of one folder with these values."""
        extension = self.caption_extension
        return SubsetSettings(
            image_dir=image_dir,
            where=where,
            option=option,
            num_repeats=self.num_repeats,
            class_tokens=self.class_tokens,
            is_reg=is_reg,
            caption_extension=extension if "." in extension else f".{extension}",
            flip_aug=self.flip_aug,
            random_crop=self.random_crop,
            color_aug=self.color_aug,
            face_crop_aug_range=self.face_crop_aug_range,
            mask_dir=None if is_reg else self._mask_dir(image_dir),
            alpha_mask=self.alpha_mask,
            resize_interpolation=self.resize_interpolation,
            rules=self._rules(),
        )

    def _mask_dir(self, image_dir: Path) -> Path | None:
        """The folder of the masks: the one named as the pictures' folder, if there is one."""
        if not self.masked_loss or not self.mask_dir:
            return None
        shared = Path(self.mask_dir).expanduser()
        own = shared / image_dir.name
        return own if image_dir.name and own.is_dir() else shared

    def _rules(self) -> CaptionRules:
        return CaptionRules(
            caption_separator=self.caption_separator,
            shuffle_caption=self.shuffle_caption,
            keep_tokens=self.keep_tokens,
            keep_tokens_separator=self.keep_tokens_separator,
            secondary_separator=self.secondary_separator,
            enable_wildcard=self.enable_wildcard,
            caption_prefix=self.caption_prefix,
            caption_suffix=self.caption_suffix,
            caption_dropout_rate=self.caption_dropout_rate,
            caption_dropout_every_n_epochs=self.caption_dropout_every_n_epochs,
            caption_tag_dropout_rate=self.caption_tag_dropout_rate,
            token_warmup_min=self.token_warmup_min,
            token_warmup_step=self.token_warmup_step,
        )
