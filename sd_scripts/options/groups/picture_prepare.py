"""Options of the job that makes a new folder of prepared pictures."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.groups.captioning import PictureFolderOptions
from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import Ending, PathText, Size

_RESIZED = Applies(when=(("resolution", ()),))


class SourceFolderOptions(PictureFolderOptions):
    """The pictures that copies are made of."""

    picture_decisions: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Decisions about pictures", path="file", keywords=("exclude", "crop")),
    ] = None
    """A file of what was decided about the pictures, as the data set page writes it: those that are
    left out are not copied, of others only the chosen part is."""

    caption_extension: Annotated[
        Ending,
        Field(min_length=1, max_length=40),
        Opt("Caption files end in", tier="basic", old_names=("caption_extention",)),
    ] = ".txt"
    """Ending of the caption files; they go with their pictures, byte for byte."""

    conditioning_data_dir: Annotated[
        PathText | None, Field(min_length=1), Opt("Masks", path="folder", keywords=("mask",))
    ] = None
    """Folder of masks of the same names and sizes as the pictures. They are cut and scaled as their
    pictures are, into masks in the new folder."""


class NewFolderOptions(Options):
    """The new folder, and how it is laid out."""

    title: ClassVar[str] = "New folder"

    output_dir: Annotated[
        PathText, Field(min_length=1), Opt("New folder", tier="basic", path="output_folder")
    ]
    """Where everything is made. It must be new or empty, and apart from the pictures."""

    dry_run: Annotated[bool, Opt("Only show what would be made", tier="basic")] = False
    """Makes nothing: tells which files would be made of which."""

    concept_words: Annotated[
        str | None,
        Field(min_length=1, max_length=100),
        Opt("Words of the folder", tier="basic", keywords=("trigger", "class", "instance")),
    ] = None
    """What pictures without a caption are called, such as: ohwx cat. Folders that are named
    <repeats>_<words> already keep their words. Empty: the folder's own name."""

    dataset_repeats: Annotated[
        int, Field(ge=1, le=100_000), Opt("Repeats", tier="basic", keywords=("repeats",))
    ] = 1
    """How often each picture is shown in an epoch, for folders that do not say it in their name."""

    balance: Annotated[bool, Opt("Show all concepts equally often", keywords=("repeats",))] = False
    """Raises the repeats of small folders until each is shown about as often as the one that is
    shown most."""

    repeats_in: Annotated[
        Literal["names", "dataset_file"], Opt("Where repeats are written", tier="expert")
    ] = "names"
    """names: folders are called <repeats>_<words>. dataset_file: they are called by their words,
    and a file dataset.toml in the new folder says the repeats."""

    group_shapes: Annotated[bool, Opt("Group by shape", keywords=("aspect",))] = False
    """Puts wide, tall and square pictures into folders of their own, each with the repeats and the
    words of its concept."""

    validation_split: Annotated[
        float, Field(ge=0, le=0.5), Opt("Share for validation", step=0.05)
    ] = 0.0
    """This share of each folder goes to validation in the new folder instead; equal pictures stay
    together. 0: none."""

    validation_seed: Annotated[
        int, Field(ge=0, le=2**32 - 1), Opt("Seed of the validation share", tier="expert")
    ] = 0
    """Another number chooses other pictures."""


class NewPictureOptions(Options):
    """How the copies are made."""

    title: ClassVar[str] = "Copies"

    resolution: Annotated[Size | None, Opt("Resolution", tier="basic", unit="pixels")] = None
    """Size that pictures are scaled and cropped to, exactly as training at this resolution does:
    one number or width,height. Empty: pictures keep their sizes."""

    enable_bucket: Annotated[
        bool, Opt("Keep picture shapes", keywords=("bucket",), applies=_RESIZED)
    ] = True
    """Scales each picture to the nearest of several shapes instead of cropping all to one."""

    min_bucket_reso: Annotated[
        int, Field(ge=64, le=8192), Opt("Shortest side", unit="pixels", step=64, applies=_RESIZED)
    ] = 256
    """Shortest side that a picture may get."""

    max_bucket_reso: Annotated[
        int, Field(ge=64, le=16384), Opt("Longest side", unit="pixels", step=64, applies=_RESIZED)
    ] = 1024
    """Longest side that a picture may get. For 1024, choose 2048."""

    bucket_reso_steps: Annotated[
        int,
        Field(ge=32, le=1024),
        Opt("Size steps", tier="expert", unit="pixels", step=32, applies=_RESIZED),
    ] = 64
    """Sides are multiples of this: 64, or 32 with SDXL."""

    bucket_no_upscale: Annotated[bool, Opt("Never enlarge pictures", applies=_RESIZED)] = False
    """Small pictures keep their size."""

    save_pictures_as: Annotated[
        Literal["same", "png", "jpg", "webp"], Opt("File format", tier="basic")
    ] = "same"
    """same: pictures that are neither scaled nor cropped are copied byte for byte, others become
    PNG. png and webp lose nothing; jpg is smaller and loses a little. Transparent parts of what is
    not copied byte for byte become white, as in training."""

    jpeg_quality: Annotated[
        int,
        Field(ge=50, le=100),
        Opt("JPEG quality", applies=Applies(when=(("save_pictures_as", ("jpg",)),))),
    ] = 95
    """Quality of JPEG files; 95 is nearly without loss."""
