"""What must agree in jobs that write captions."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.captioning import (
    SentenceFileOptions,
    TagFileOptions,
    TaggerOptions,
    TagOptions,
    WordingOptions,
)
from sd_scripts.options.rules.registry import rule

_ONE_OF_TWO = "choose one of the two"


@rule("only_missing", "append_tags")
def tags_added_or_left(files: TagFileOptions) -> Iterator[Problem]:
    """What is left alone cannot be added to."""
    if files.only_missing and files.append_tags:
        yield Problem(
            "pictures that have tags are left alone, so nothing can be added to them",
            "only_missing, append_tags",
            _ONE_OF_TWO,
        )


@rule("only_missing", "append_captions")
def captions_added_or_left(files: SentenceFileOptions) -> Iterator[Problem]:
    """What is left alone cannot be added to."""
    if files.only_missing and files.append_captions:
        yield Problem(
            "pictures that have a caption are left alone, so nothing can be added to it",
            "only_missing, append_captions",
            _ONE_OF_TWO,
        )


@rule(
    "use_rating_tags",
    "use_rating_tags_as_last_tag",
    "use_quality_tags",
    "use_quality_tags_as_last_tag",
)
def in_front_or_at_the_end(tags: TagOptions) -> Iterator[Problem]:
    """Rating and quality stand in one place."""
    for name, first, last in (
        ("rating", tags.use_rating_tags, tags.use_rating_tags_as_last_tag),
        ("quality", tags.use_quality_tags, tags.use_quality_tags_as_last_tag),
    ):
        if first and last:
            yield Problem(
                f"the {name} cannot stand in front and at the end",
                f"use_{name}_tags, use_{name}_tags_as_last_tag",
                _ONE_OF_TWO,
            )


@rule("min_length", "max_length")
def shortest_below_longest(wording: WordingOptions) -> Iterator[Problem]:
    """A caption cannot be longer than the longest."""
    if wording.min_length > wording.max_length:
        yield Problem(
            f"the shortest caption ({wording.min_length} tokens) is longer than the longest "
            f"({wording.max_length})",
            "min_length, max_length",
            "lower min_length or raise max_length",
        )


@rule("force_download", "repo_id")
def download_needs_a_name(tagger: TaggerOptions) -> Iterator[Problem]:
    """What is downloaded has a name."""
    if tagger.force_download and tagger.repo_id is None:
        yield Problem(
            "it is not said which tagger is to be downloaded",
            "force_download, repo_id",
            "set repo_id, for example SmilingWolf/wd-vit-tagger-v3",
        )
