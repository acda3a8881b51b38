"""Options of the job that examines pictures and captions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from sd_scripts.options.schema import Opt, Options
from sd_scripts.options.types import Ending, PathText, UnfitError

CHECK_NAMES = (
    "unreadable",
    "too_small",
    "twins",
    "blurred",
    "light",
    "compressed",
    "borders",
    "transparent",
    "turned",
    "shape",
    "captions",
    "same_captions",
    "trigger",
    "long_captions",
    "cropped",
    "lonely",
    "unequal",
)


def _known_checks(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in CHECK_NAMES:
            raise UnfitError(f"there is no check {name!r}", f"known are {', '.join(CHECK_NAMES)}")
    return names


class PictureCheckOptions(Options):
    """What is looked for in pictures and captions."""

    title: ClassVar[str] = "Checks"

    caption_extension: Annotated[
        Ending,
        Field(min_length=1, max_length=40),
        Opt("Caption files end in", tier="basic", old_names=("caption_extention",)),
    ] = ".caption"
    """Ending of the caption files beside the pictures; usual are .txt and .caption."""

    trigger_word: Annotated[
        str | None, Field(min_length=1), Opt("Trigger word", tier="basic", keywords=("token",))
    ] = None
    """The word that every caption should hold. Empty: the first word of a folder's name, where most
    of its captions hold it already."""

    model_family: Annotated[
        Literal["sd1", "sd2", "sdxl"], Opt("Kind of model", tier="basic", keywords=("family",))
    ] = "sd1"
    """What the pictures are meant for; it decides the resolution where none is given."""

    max_token_length: Annotated[
        Literal[150, 225] | None,
        Opt("Longest caption", unit="tokens", off_values=(75,)),
    ] = None
    """How many tokens of a caption will be read in training. Empty: 75."""

    skip_checks: Annotated[
        tuple[str, ...], AfterValidator(_known_checks), Opt("Checks to leave out", tier="expert")
    ] = ()
    """Names of checks that are not done: unreadable, too_small, twins, blurred, light, compressed,
    borders, transparent, turned, shape, captions, same_captions, trigger, long_captions, cropped,
    lonely, unequal."""

    report_path: Annotated[
        PathText | None, Field(min_length=1), Opt("Copy of the report", tier="expert", path="file")
    ] = None
    """A JSON file that the report is also written to. It is always in the run's output folder."""

    max_data_loader_n_workers: Annotated[
        int | None, Field(ge=1, le=256), Opt("Reading threads", keywords=("workers",))
    ] = None
    """How many threads read pictures. Empty: one for each processor core that may be used. The
    result is the same for any number."""
