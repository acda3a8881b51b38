"""Options that say how captions are read and varied."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.schema import Opt, Options
from sd_scripts.options.types import Ending


class CaptionOptions(Options):
    """Reading and varying captions."""

    title: ClassVar[str] = "Captions"

    caption_extension: Annotated[
        Ending,
        Field(min_length=1, max_length=40),
        Opt("Caption files end in", tier="basic", old_names=("caption_extention",)),
    ] = ".caption"
    """Ending of the caption file that lies beside each picture under the same name; usual are .txt
    and .caption."""

    caption_separator: Annotated[
        str, Field(min_length=1, max_length=40), Opt("Tag separator", tier="expert")
    ] = ","
    """What stands between the tags of a caption."""

    shuffle_caption: Annotated[
        bool, Opt("Shuffle tags", tier="basic", keywords=("shuffle",), records=True)
    ] = False
    """Puts the tags of a caption in a new order each time, so that none counts more for standing in
    front. For captions made of tags, not for sentences."""

    keep_tokens: Annotated[
        int,
        Field(ge=0, le=1000),
        Opt(
            "Tags that stay in front",
            typical="1 with a trigger word in front",
            unit="tags",
            records=True,
        ),
    ] = 0
    """How many tags at the start are neither shuffled nor dropped. Use 1 when the first tag is your
    trigger word."""

    keep_tokens_separator: Annotated[
        str, Field(max_length=40), Opt("Mark after fixed tags", tier="expert")
    ] = ""
    """Text in the caption (for example |||) that ends the fixed part, in place of keep_tokens. A
    second one begins a fixed part at the end."""

    secondary_separator: Annotated[
        str | None,
        Field(min_length=1, max_length=40),
        Opt("Tags that stay together", tier="expert"),
    ] = None
    """Joins tags that are shuffled and dropped as one (for example ;;;). Becomes caption_separator
    afterwards."""

    enable_wildcard: Annotated[bool, Opt("Wildcards", tier="expert")] = False
    """Reads {red|blue} in a caption as a random choice, and takes a random line of a caption with
    several lines."""

    caption_prefix: Annotated[
        str | None, Field(min_length=1), Opt("Text before every caption", keywords=("trigger",))
    ] = None
    """Put before every caption, with a blank between; a trigger word, for example."""

    caption_suffix: Annotated[str | None, Field(min_length=1), Opt("Text after every caption")] = (
        None
    )
    """Put after every caption, with a blank between."""

    caption_dropout_rate: Annotated[
        float,
        Field(ge=0, le=1),
        Opt("Leave captions out", typical="0 for things, 0.1 for styles", step=0.01, records=True),
    ] = 0.0
    """Share of the time a picture is learned without its caption: 0 never, 1 always. 0.05 to 0.1
    helps styles."""

    caption_dropout_every_n_epochs: Annotated[
        int,
        Field(ge=0, le=1_000_000),
        Opt("Epochs without captions", tier="expert", unit="epochs", records=True),
    ] = 0
    """Leaves out every caption in each n-th epoch. 0: never."""

    caption_tag_dropout_rate: Annotated[
        float, Field(ge=0, le=1), Opt("Leave single tags out", step=0.01, records=True)
    ] = 0.0
    """Share of the time each tag (except fixed ones) is left out: 0 never. Usual: 0 to 0.2."""

    token_warmup_min: Annotated[
        int, Field(ge=0, le=1000), Opt("Tags at the start", tier="expert", unit="tags")
    ] = 1
    """How many tags are shown at first, when token_warmup_step is set."""

    token_warmup_step: Annotated[
        float, Field(ge=0), Opt("Steps until all tags", tier="expert", unit="steps")
    ] = 0.0
    """Shows more and more tags until this step. Under 1: a share of all steps. 0: all tags at
    once."""

    weighted_captions: Annotated[
        bool, Opt("Weights in captions", tier="expert", keywords=("weights", "emphasis"))
    ] = False
    """Reads (word:1.3), (word) and [word] in captions as how much a word counts. A plain bracket is
    then written \\( and \\). Previews always read weights."""

    @property
    def varies(self) -> bool:
        """Whether a caption can differ from one step to the next (so it cannot be cached)."""
        return bool(
            self.shuffle_caption
            or self.enable_wildcard
            or self.caption_dropout_rate
            or self.caption_dropout_every_n_epochs
            or self.caption_tag_dropout_rate
            or self.token_warmup_step
        )
