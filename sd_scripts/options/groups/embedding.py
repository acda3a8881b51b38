"""Options of a new word whose meaning is learned (Textual Inversion)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import PathText

_WITH_WORD = Applies(when=(("token_string", ()),))


class EmbeddingOptions(Options):
    """A new word that may be learned beside something else."""

    title: ClassVar[str] = "New word (embedding)"

    token_string: Annotated[
        str | None,
        Field(min_length=1, max_length=100),
        Opt("New word", keywords=("token", "trigger", "embedding", "textual_inversion")),
    ] = None
    """A word that the model does not know yet, and that stands in your captions for what is to be
    learned; for example mycat7. Empty: no new word is learned."""

    num_vectors_per_token: Annotated[
        int,
        Field(ge=1, le=225),
        Opt(
            "Vectors",
            cost="A few kilobytes each.",
            unit="vectors",
            applies=_WITH_WORD,
            keywords=("vectors",),
        ),
    ] = 1
    """How much the word can hold. Each vector takes one of the 75 places of a prompt. Usual: 1 to 4
    for a thing or person, 4 to 16 for a style."""

    init_word: Annotated[
        str | None,
        Field(min_length=1, max_length=300),
        Opt("Word to start from", applies=_WITH_WORD),
    ] = None
    """A known word that comes close to what is learned, such as cat or painting: the vectors start
    as its own, in turn if it has fewer. Empty: they start at random."""

    weights: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Continue from an embedding", path="file", applies=_WITH_WORD, keywords=("continue",)),
    ] = None
    """An embedding file to start from. (To go on with a stopped run exactly where it was, use
    resume.)"""

    use_object_template: Annotated[
        bool, Opt("Made-up captions for a thing", applies=_WITH_WORD, keywords=("template",))
    ] = False
    """Does without captions: each time, a random sentence with the new word takes their place, such
    as: a photo of mycat7."""

    use_style_template: Annotated[
        bool, Opt("Made-up captions for a style", applies=_WITH_WORD, keywords=("template",))
    ] = False
    """The same with sentences for a style, such as: a painting in the style of mycat7."""

    @property
    def has_template(self) -> bool:
        """Whether sentences take the place of captions."""
        return self.use_object_template or self.use_style_template


class TextualInversionOptions(EmbeddingOptions):
    """A new word that is all that is learned."""

    title: ClassVar[str] = "New word"

    token_string: Annotated[
        str,
        Field(min_length=1, max_length=100),
        Opt(
            "New word",
            tier="basic",
            keywords=("token", "trigger", "embedding", "textual_inversion"),
        ),
    ]
    """A word that the model does not know yet, and that stands in your captions for what is to be
    learned; for example mycat7."""

    num_vectors_per_token: Annotated[
        int,
        Field(ge=1, le=225),
        Opt(
            "Vectors",
            cost="A few kilobytes each.",
            tier="basic",
            unit="vectors",
            keywords=("vectors",),
        ),
    ] = 1
    """How much the word can hold. Each vector takes one of the 75 places of a prompt. Usual: 1 to 4
    for a thing or person, 4 to 16 for a style."""

    init_word: Annotated[
        str | None,
        Field(min_length=1, max_length=300),
        Opt("Word to start from", tier="basic"),
    ] = None
    """A known word that comes close to what is learned, such as cat or painting: the vectors start
    as its own, in turn if it has fewer. Empty: they start at random."""
