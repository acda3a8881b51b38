"""Options that say which pictures are learned from, at which size, and what is kept of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sd_scripts.options.groups.picture_source import PictureSourceOptions
from sd_scripts.options.schema import Applies, Opt
from sd_scripts.options.types import PathText, RangeText, parse_range

Interpolation = Literal["lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area"]


class DataOptions(PictureSourceOptions):
    """Pictures, sizes, caches and loading."""

    resize_interpolation: Annotated[
        Interpolation | None,
        Opt("Resizing method", tier="expert", records=True),
    ] = None
    """How pictures are resized. Empty: area averaging to make them smaller, Lanczos to make them
    larger."""

    flip_aug: Annotated[
        bool,
        Opt(
            "Mirror at random",
            typical="Off for people and lettering, on for styles",
            keywords=("flip", "mirror"),
            records=True,
        ),
    ] = False
    """Shows every picture mirrored half of the time. Good for few pictures; wrong where left and
    right matter (faces of known people, lettering). Doubles the cached latents."""

    random_crop: Annotated[bool, Opt("Crop at random", tier="expert", records=True)] = False
    """Crops a different part of the picture each time instead of its centre. Cannot be used with
    cached latents, so every step takes longer."""

    color_aug: Annotated[
        bool, Opt("Vary colours a little", tier="expert", keywords=("colour",), records=True)
    ] = False
    """Shifts the hue or the brightness of every third showing a little. Cannot be used with cached
    latents, so every step takes longer."""

    face_crop_aug_range: Annotated[
        RangeText | None,
        Opt("Crop around faces", tier="expert", keywords=("face",), records=True),
    ] = None
    """Crops around the face whose place stands in the file name (name_x_y_width_height). Two
    numbers such as 2.0,4.0: how many times the face's size the crop is, chosen anew each time.
    Cannot be used with cached latents."""

    kohya_crop_conditioning: Annotated[
        bool, Opt("Crop values of sd-scripts", tier="expert", applies=Applies(families=("sdxl",)))
    ] = False
    """Tells SDXL the crop values that sd-scripts computes (a letter-box around the picture) instead
    of the crop that was really taken. For going on exactly as there."""

    masked_loss: Annotated[bool, Opt("Learn only what masks show", keywords=("mask", "masks"))] = (
        False
    )
    """Limits what is learned to the white parts of masks, which lie in conditioning_data_dir: black
    is not looked at, grey a little."""

    conditioning_data_dir: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt(
            "Masks",
            path="folder",
            keywords=("mask", "masks"),
            applies=Applies(when=(("masked_loss", (True,)),)),
        ),
    ] = None
    """Folder of the masks for masked_loss: for each picture one of the same name and size, white
    where it is to be learned (the red channel counts). Folders in it that are named as those of the
    pictures (10_mycat) are used for them. Regularisation pictures have none. A dataset file may
    name a folder for each subset."""

    alpha_mask: Annotated[
        bool, Opt("Transparency is a mask", keywords=("mask", "transparent", "alpha"))
    ] = False
    """Transparent parts of pictures are not learned. They are painted white before training either
    way, so that nothing of what lies under them shows."""

    prior_loss_weight: Annotated[
        float,
        Field(ge=0, le=100),
        Opt("Weight of regularisation", typical="1", step=0.1, records=True),
    ] = 1.0
    """How much regularisation pictures count beside your own: 1 as much, 0 nothing."""

    cache_latents: Annotated[
        bool,
        Opt(
            "Cache pictures",
            typical="On, unless pictures are cropped or coloured anew each time",
            cost=(
                "A picture of 512 px takes up to 128 KB, one of 1024 px up to 512 KB, "
                "twice that with flip_aug. The VAE leaves the memory."
            ),
            tier="basic",
            keywords=("cache",),
            records=True,
        ),
    ] = False
    """Encodes every picture once before training instead of at every step, and takes the VAE out of
    memory afterwards. Much faster; recommended."""

    cache_latents_to_disk: Annotated[
        bool,
        Opt(
            "Cache pictures on disk",
            typical="On",
            cost=(
                "The same sizes on the disk. The next run with these pictures starts "
                "without encoding."
            ),
            tier="basic",
        ),
    ] = False
    """Keeps the encoded pictures in the cache folder, so that the next run starts at once. Only
    pictures that changed are encoded again. Switches cache_latents on."""

    kohya_caches: Annotated[
        Literal["off", "read", "write"],
        Opt("Cache files of sd-scripts", tier="expert", keywords=("npz",)),
    ] = "read"
    """The .npz files that sd-scripts leaves beside pictures when it caches latents, or captions for
    SDXL. read: takes those that fit (right size, not older than picture and caption, same VAE or
    text encoders) instead of encoding. write: also writes them where they are missing, and learns
    from what it wrote: the noise that the VAE adds is then drawn once. off: passes them over."""

    vae_batch_size: Annotated[
        int,
        Field(ge=1, le=1024),
        Opt(
            "Pictures encoded at a time",
            cost="Memory grows with it, while pictures are encoded only.",
            unit="pictures",
        ),
    ] = 1
    """How many pictures the VAE encodes at a time while caching. More is faster and needs memory;
    usual: 1 to 8."""

    cache_text_encoder_outputs: Annotated[
        bool,
        Opt(
            "Cache captions",
            typical="On for SDXL when only the U-Net learns and captions stay the same",
            cost=("Frees the text encoders: 0.25 GB with SD 1.x and 1.6 GB with SDXL in 16 bits."),
        ),
    ] = False
    """Encodes every caption once and takes the text encoders out of memory. Faster and smaller, but
    captions then stay the same, and the text encoders cannot learn."""

    cache_text_encoder_outputs_to_disk: Annotated[bool, Opt("Cache captions on disk")] = False
    """Keeps the encoded captions in the cache folder for the next run. Switches
    cache_text_encoder_outputs on."""

    max_data_loader_n_workers: Annotated[
        int,
        Field(ge=0, le=256),
        Opt(
            "Loader processes",
            typical="Leave it; with cached latents hardly any are needed",
            keywords=("workers",),
        ),
    ] = 8
    """How many processes prepare pictures beside the training, at most one per processor core. 0:
    the training process does it itself. The result is the same for any number."""

    persistent_data_loader_workers: Annotated[bool, Opt("Keep loader processes")] = False
    """Keeps these processes from epoch to epoch: shorter pauses between epochs, more memory."""

    bad_images: Annotated[Literal["skip", "error"], Opt("Unreadable pictures")] = "skip"
    """What to do with a picture that cannot be read: skip it and say so, or refuse to start."""

    @property
    def face_crop_range(self) -> tuple[float, float] | None:
        """`face_crop_aug_range` as two numbers."""
        return parse_range(self.face_crop_aug_range) if self.face_crop_aug_range else None

    @model_validator(mode="before")
    @classmethod
    def _disk_implies_cache(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        implied = {
            name: True
            for name in ("cache_latents", "cache_text_encoder_outputs")
            if values.get(f"{name}_to_disk") is True
        }
        return values | implied
