"""From a tagger's numbers to the tags that are written: thresholds, order, wording.

Behaviour agrees with sd-scripts' tag_images_by_wd14_tagger.py, except that tags are replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sd_scripts.captioning.labels import Category, Label, TagList
from sd_scripts.options.groups.captioning import TagOptions
from sd_scripts.options.tag_replacement import read_replacements

Numbers = NDArray[np.float32]

_SHORTEST_WITH_BLANKS: Final = 4
"""Tags of up to three letters such as ^_^ keep their underscores."""
_ONE_OF_MANY: Final = ("rating", "quality")
"""Of these categories the surest one is taken."""


def split_tags(text: str, separator: str) -> list[str]:
    """Split a list of tags at the separator (without its blanks); empty ones go."""
    parts = text.split(separator.strip() or separator)
    return [tag.strip() for tag in parts if tag.strip()]


def without_underscores(tag: str) -> str:
    """Put blanks for underscores in tags of more than three letters."""
    return tag.replace("_", " ") if len(tag) >= _SHORTEST_WITH_BLANKS else tag


def expand_character(tag: str) -> tuple[str, ...]:
    """Split `name_(series)` into name and series; only the last brackets are the series."""
    head, bracket, tail = tag.rpartition("(")
    if not bracket or not tag.endswith(")") or not head.strip("_ "):
        return (tag,)
    return head.removesuffix("_"), tail.replace(")", "")


def written_tags(
    label: Label, options: TagOptions, replacements: Mapping[str, str]
) -> tuple[str, ...]:
    """Return how a label is written: nothing, one tag, or a character and its series."""
    if label.name is None:
        return ()
    if label.name in replacements:
        return _given(replacements[label.name])
    expands = options.character_tag_expand and label.category == "character"
    tags = expand_character(label.name) if expands else (label.name,)
    if options.remove_underscore:
        tags = tuple(without_underscores(tag) for tag in tags)
    whole = options.caption_separator.join(tags)
    if whole in replacements:
        return _given(replacements[whole])
    return tuple(part for tag in tags for part in _given(replacements.get(tag, tag)))


def _given(tag: str) -> tuple[str, ...]:
    return (tag,) if tag else ()


@dataclass(frozen=True)
class ScoredTag:
    """One output of a tagger for one picture, 0 to 1, and whether it was taken.

    `tag` is how it is (or would be) written, `threshold` what it has to reach; None for those of
    which the surest is taken, and for unwanted ones.
    """

    tag: str
    category: Category
    score: float
    threshold: float | None
    taken: bool


class TagChooser:
    """Chooses and orders the tags of pictures; made once for a tagger and a job."""

    def __init__(self, tag_list: TagList, options: TagOptions) -> None:
        self._options = options
        self._labels = tag_list.labels
        self._is_csv = tag_list.kind == "csv"
        self._by_score = (options.tag_order or ("list" if self._is_csv else "score")) == "score"
        replacements = read_replacements(options.tag_replacement or "")
        unwanted = set(split_tags(options.undesired_tags, options.caption_separator))
        self._written: list[tuple[str, ...]] = []
        for label in tag_list.labels:
            tags = written_tags(label, options, replacements)
            whole = options.caption_separator.join(tags)
            kept = () if whole in unwanted else tuple(tag for tag in tags if tag not in unwanted)
            self._written.append(kept)
        self._thresholds = self._threshold_of_each()
        self._places: dict[Category, NDArray[np.int64]] = {
            category: np.array(
                [
                    place
                    for place, label in enumerate(self._labels)
                    if label.category == category and self._written_or_counts(place)
                ],
                np.int64,
            )
            for category in _ONE_OF_MANY
        }

    def _written_or_counts(self, place: int) -> bool:
        """With a CSV list an unwanted rating is still the rating, and then none is written."""
        return self._is_csv or bool(self._written[place])

    def _threshold(self, category: Category) -> float:
        options = self._options
        own: dict[Category, float | None] = {
            "general": options.general_threshold,
            "character": options.character_threshold,
            "copyright": options.copyright_threshold,
            "artist": options.artist_threshold,
            "meta": options.meta_threshold,
            "model": options.model_threshold,
        }
        value = own.get(category)
        return options.thresh if value is None else value

    def _threshold_of_each(self) -> Numbers:
        """The threshold of each output; infinite where no tag can come of it."""
        return np.array(
            [
                self._threshold(label.category)
                if tags and label.category not in _ONE_OF_MANY
                else np.inf
                for label, tags in zip(self._labels, self._written, strict=True)
            ],
            np.float32,
        )

    def choose(self, numbers: Numbers) -> list[str]:
        """Return the tags of one picture, each once, from its probabilities [number of labels]."""
        found = np.flatnonzero(numbers >= self._thresholds)
        if self._by_score:
            found = found[np.argsort(-numbers[found], kind="stable")]
        tags = self._ordered(found)
        options = self._options
        if options.use_quality_tags or options.use_quality_tags_as_last_tag:
            quality = self._one_of("quality", numbers)
            tags = [*tags, *quality] if options.use_quality_tags_as_last_tag else [*quality, *tags]
        if options.use_rating_tags or options.use_rating_tags_as_last_tag:
            rating = self._one_of("rating", numbers)
            tags = [*tags, *rating] if options.use_rating_tags_as_last_tag else [*rating, *tags]
        return self._with_first_ones(list(dict.fromkeys(tags)))

    def scored(self, numbers: Numbers, most: int) -> list[ScoredTag]:
        """Return the tags that were taken and the surest others, `most` in all, surest first."""
        chosen = set(self.choose(numbers))
        found = []
        for place in np.argsort(-numbers, kind="stable"):
            label, written = self._labels[place], self._written[place]
            if label.name is None:
                continue
            threshold = float(self._thresholds[place])
            found.append(
                ScoredTag(
                    tag=self._options.caption_separator.join(written) or label.name,
                    category=label.category,
                    score=float(numbers[place]),
                    threshold=None if np.isinf(threshold) else threshold,
                    taken=bool(written) and chosen.issuperset(written),
                )
            )
        taken = sum(one.taken for one in found)
        room = max(0, most - taken)
        others = [one for one in found if not one.taken][:room]
        return sorted([one for one in found if one.taken] + others, key=lambda one: -one.score)

    def _ordered(self, places: Iterable[np.int64]) -> list[str]:
        first: list[str] = []
        others: list[str] = []
        for place in places:
            tags = self._written[place]
            if self._options.character_tags_first and self._labels[place].category == "character":
                # By list, each goes before the one found before it.
                first = [*first, *tags] if self._by_score else [*tags, *first]
            else:
                others += tags
        return first + others

    def _one_of(self, category: Category, numbers: Numbers) -> Sequence[str]:
        """The surest of a category. With a mapping it must reach the lowest of all thresholds."""
        places = self._places[category]
        if not len(places):
            return ()
        best = places[int(np.argmax(numbers[places]))]
        return self._written[best] if self._is_csv or numbers[best] >= self._lowest() else ()

    def _lowest(self) -> float:
        categories: tuple[Category, ...] = (
            "general",
            "character",
            "copyright",
            "artist",
            "meta",
            "model",
        )
        return min(self._options.thresh, *(self._threshold(one) for one in categories))

    def _with_first_ones(self, tags: list[str]) -> list[str]:
        """Move some tags to the front, one after the other."""
        wanted = split_tags(self._options.always_first_tags or "", self._options.caption_separator)
        for tag in wanted:
            if tag in tags:
                tags.remove(tag)
                tags.insert(0, tag)
        return tags


def unused_options(tag_list: TagList, options: TagOptions) -> Iterator[str]:
    """Yield options that ask for what the tagger does not know."""
    if not tag_list.has("quality"):
        for name, on in (
            ("use_quality_tags", options.use_quality_tags),
            ("use_quality_tags_as_last_tag", options.use_quality_tags_as_last_tag),
        ):
            if on:
                yield name
    if not tag_list.has("rating"):
        for name, on in (
            ("use_rating_tags", options.use_rating_tags),
            ("use_rating_tags_as_last_tag", options.use_rating_tags_as_last_tag),
        ):
            if on:
                yield name


def unknown_tags(tag_list: TagList, options: TagOptions) -> list[str]:
    """Return tags that tag_replacement names and the tagger never writes."""
    names = {label.name for label in tag_list.labels}
    plain = options.model_copy(update={"tag_replacement": None})
    for label in tag_list.labels:
        tags = written_tags(label, plain, {})
        names |= {*tags, options.caption_separator.join(tags)}
    return [old for old in read_replacements(options.tag_replacement or "") if old not in names]
