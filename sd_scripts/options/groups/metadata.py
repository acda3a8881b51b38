"""Options for what is written into the trained file about itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.schema import Opt, Options
from sd_scripts.options.types import PathText

Words = Annotated[str | None, Field(min_length=1)]


class MetadataOptions(Options):
    """What the file says about itself."""

    title: ClassVar[str] = "File information"

    no_metadata: Annotated[bool, Opt("Leave out training settings", tier="expert")] = False
    """Writes only what other programs need to load the file, not how it was trained."""

    training_comment: Annotated[Words, Opt("Comment", keywords=("comment",), records=True)] = None
    """A comment of yours; others can read it."""

    metadata_title: Annotated[Words, Opt("Title")] = None
    """Title of the file. Empty: output_name."""

    metadata_author: Annotated[Words, Opt("Author")] = None
    """Who made it, as others will see it."""

    metadata_description: Annotated[Words, Opt("Description")] = None
    """What it is and what it is good for."""

    metadata_license: Annotated[Words, Opt("Licence")] = None
    """What others may do with it."""

    metadata_tags: Annotated[Words, Opt("Tags")] = None
    """Words to find it by, separated by commas."""

    metadata_usage_hint: Annotated[Words, Opt("How to use it", tier="expert")] = None
    """How it is meant to be used, for example at which strength."""

    metadata_thumbnail: Annotated[
        PathText | None, Field(min_length=1), Opt("Thumbnail", tier="expert", path="file")
    ] = None
    """A small picture that is put into the file."""

    metadata_merged_from: Annotated[Words, Opt("Merged from", tier="expert")] = None
    """Names of the models this one was merged from."""

    metadata_trigger_phrase: Annotated[Words, Opt("Trigger words", keywords=("trigger",))] = None
    """The words that call up what was learned."""

    metadata_preprocessor: Annotated[Words, Opt("Preprocessor", tier="expert")] = None
    """What prepares pictures for the model, if anything does."""

    metadata_is_negative_embedding: Annotated[Words, Opt("For negative prompts", tier="expert")] = (
        None
    )
    """Says whether the file belongs into the negative prompt ("true" or "false")."""
