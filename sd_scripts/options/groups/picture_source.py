"""Options that say which pictures there are and into which buckets they go: trainers and checks."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import PathText, Size

_WITH_BUCKETS = Applies(when=(("enable_bucket", (True,)),))


class PictureSourceOptions(Options):
    """Where pictures are, how often they are shown, and at which sizes."""

    title: ClassVar[str] = "Pictures"

    train_data_dir: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Pictures", tier="basic", path="folder", keywords=("images", "folder", "image_dir")),
    ] = None
    """Folder of the pictures to learn. Either it holds folders named <repeats>_<words>, such as
    10_mycat cat, or the pictures themselves; then dataset_repeats says how often each is used."""

    reg_data_dir: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt(
            "Regularisation pictures",
            typical="As many pictures as your own ones with their repeats",
            cost=("As many further steps as there are such pictures: up to twice the time."),
            path="folder",
            keywords=("regularization",),
        ),
    ] = None
    """Folder of ordinary pictures of the same class, laid out as train_data_dir. They keep the
    model from turning everything of that class into your subject. They double the steps."""

    in_json: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Metadata file", path="file", keywords=("metadata", "jsonl", "json")),
    ] = None
    """A JSON or JSONL file with caption and tags of each picture, in place of caption files.
    Relative picture names start from train_data_dir, or from the file's own folder."""

    dataset_config: Annotated[
        PathText | None, Field(min_length=1), Opt("Dataset file", path="file")
    ] = None
    """A TOML file that describes several folders with settings of their own; it takes the place of
    train_data_dir and reg_data_dir."""

    picture_decisions: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Decisions about pictures", path="file", keywords=("exclude", "crop", "repeats")),
    ] = None
    """A file of what was decided about the pictures, as the data set page writes it: which are left
    out, which part of a picture is used, how often a folder is shown. The pictures themselves stay
    as they are."""

    dataset_repeats: Annotated[
        int, Field(ge=1, le=100_000), Opt("Repeats", tier="basic", keywords=("repeats",))
    ] = 1
    """How often each picture is used in one epoch, for folders that do not say it in their name.
    Usual: 1 to 20."""

    resolution: Annotated[
        Size | None,
        Opt(
            "Resolution",
            typical="512 for SD 1.x, 768 for SD 2.x, 1024 for SDXL",
            cost=(
                "Twice the side is four times the time and memory of what lies between "
                "the layers; the model itself stays as large."
            ),
            tier="basic",
            unit="pixels",
            keywords=("size",),
            records=True,
        ),
    ] = None
    """Size to train at: one number or width,height. Empty: what the model was made for (512 for
    SD 1.x, 512 or 768 for SD 2.x, 1024 for SDXL). Time and memory grow with its square."""

    train_batch_size: Annotated[
        int,
        Field(ge=1, le=4096),
        Opt(
            "Batch size",
            cost=(
                "Each further picture takes memory for what lies between the layers; "
                "the model is there once. A step takes nearly as many times longer."
            ),
            tier="basic",
            unit="pictures",
            keywords=("batch", "batch_size"),
            records="ss_batch_size_per_device",
        ),
    ] = 1
    """How many pictures are learned from in one step. Usual: 1 to 8. More is steadier and faster
    per picture and needs more memory."""

    enable_bucket: Annotated[
        bool, Opt("Keep picture shapes", tier="basic", keywords=("bucket", "aspect"), records=True)
    ] = False
    """Groups pictures by shape instead of cropping all of them to one. Recommended unless every
    picture already has the training size."""

    min_bucket_reso: Annotated[
        int,
        Field(ge=64, le=8192),
        Opt("Shortest side", unit="pixels", step=64, applies=_WITH_BUCKETS, records=True),
    ] = 256
    """Shortest side that a group of pictures may have. A multiple of bucket_reso_steps."""

    max_bucket_reso: Annotated[
        int,
        Field(ge=64, le=16384),
        Opt(
            "Longest side",
            typical="1024 at a resolution of 512, 2048 at 1024",
            unit="pixels",
            step=64,
            applies=_WITH_BUCKETS,
            records=True,
        ),
    ] = 1024
    """Longest side that a group of pictures may have. For training at 1024, choose 2048 so that
    wide and tall pictures keep their shape. A multiple of bucket_reso_steps."""

    bucket_reso_steps: Annotated[
        int,
        Field(ge=32, le=1024),
        Opt("Size steps", tier="expert", unit="pixels", step=32, applies=_WITH_BUCKETS),
    ] = 64
    """Sides of the groups are multiples of this: 64, or 32 with SDXL. Smaller steps crop less and
    make more, smaller groups."""

    bucket_no_upscale: Annotated[
        bool, Opt("Never enlarge pictures", applies=_WITH_BUCKETS, records=True)
    ] = False
    """Small pictures keep their size instead of being enlarged to the training resolution."""

    cache_dir: Annotated[
        PathText | None, Field(min_length=1), Opt("Cache folder", tier="expert", path="folder")
    ] = None
    """Where encoded pictures and captions and the picture index are kept. Empty: the user's cache
    folder. Nothing is written beside your pictures unless kohya_caches is write."""
