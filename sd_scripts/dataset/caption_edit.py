"""Changes to the captions of many pictures at once: tags and texts come, go and are sorted.

Every change is a pure function over captions. A caption it does not concern comes back as it was,
to the letter; one that is changed by its tags gets them joined with ", ".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sd_scripts.dataset.caption_edit_file import clean_caption
from sd_scripts.dataset.caption_regex import MAX_PATTERN, substitute
from sd_scripts.errors import UserError

SEPARATOR: Final = ","
MAX_TEXT: Final = 20_000
"""Letters of a text that is added or put in place of another one."""

Files = Sequence[tuple[str, ...]]


def tags_of(caption: str, separator: str = SEPARATOR) -> list[str]:
    """The tags of a caption, as the trainers split it; empty ones are left out."""
    return [tag.strip() for tag in caption.split(separator) if tag.strip()]


def join_tags(tags: Sequence[str], separator: str = SEPARATOR) -> str:
    """A caption of tags."""
    return f"{separator} ".join(tags)


def count_tags(files: Files, separator: str = SEPARATOR) -> Counter[str]:
    """In how many caption files each tag occurs."""
    counts: Counter[str] = Counter()
    for captions in files:
        counts.update({tag for caption in captions for tag in tags_of(caption, separator)})
    return counts


@dataclass(frozen=True)
class AddTags:
    """Add tags that a caption lacks; a file without captions gets one."""

    tags: tuple[str, ...]
    in_front: bool = False
    separator: str = SEPARATOR

    def apply(self, files: Files) -> list[tuple[str, ...]]:
        """Return the captions after it."""
        return [tuple(self._one(caption) for caption in captions or ("",)) for captions in files]

    def _one(self, caption: str) -> str:
        present = {_same(tag) for tag in tags_of(caption, self.separator)}
        new = [tag for tag in self.tags if _same(tag) not in present]
        if not new:
            return caption
        added = join_tags(new, self.separator)
        if not caption.strip():
            return added
        # What is there is not split and joined: its own blanks and empty tags stay.
        first, second = (added, caption) if self.in_front else (caption.rstrip(), added)
        between = "" if first.endswith(self.separator) else self.separator
        return f"{first}{between} {second}"


@dataclass(frozen=True)
class ReplaceTags:
    """Put other tags, or none, in the place of some; what is there already does not come twice."""

    old: tuple[str, ...]
    new: tuple[str, ...] = ()
    separator: str = SEPARATOR

    def apply(self, files: Files) -> list[tuple[str, ...]]:
        """Return the captions after it."""
        return _each(files, self._one)

    def _one(self, caption: str) -> str:
        old = {_same(tag) for tag in self.old}
        tags = tags_of(caption, self.separator)
        if not any(_same(tag) in old for tag in tags):
            return caption
        present = {_same(tag) for tag in tags if _same(tag) not in old}
        result: list[str] = []
        for tag in tags:
            if _same(tag) not in old:
                result.append(tag)
                continue
            for new in self.new:
                if _same(new) not in present:
                    present.add(_same(new))
                    result.append(new)
        return join_tags(result, self.separator)


@dataclass(frozen=True)
class SortTags:
    """Sort tags by name, or by how often they occur; the first `keep_first` stay in their place."""

    by: Literal["name", "often"] = "name"
    keep_first: int = 0
    separator: str = SEPARATOR

    def apply(self, files: Files) -> list[tuple[str, ...]]:
        """Return the captions after it."""
        counts = count_tags(files, self.separator) if self.by == "often" else Counter[str]()

        def one(caption: str) -> str:
            tags = tags_of(caption, self.separator)
            rest = tags[self.keep_first :]
            ordered = sorted(rest, key=lambda tag: (-counts[tag], _same(tag), tag))
            if ordered == rest:
                return caption
            return join_tags([*tags[: self.keep_first], *ordered], self.separator)

        return _each(files, one)


@dataclass(frozen=True)
class DedupeTags:
    """Keep only the first of tags that are the same but for capital letters."""

    separator: str = SEPARATOR

    def apply(self, files: Files) -> list[tuple[str, ...]]:
        """Return the captions after it."""
        return _each(files, self._one)

    def _one(self, caption: str) -> str:
        tags = tags_of(caption, self.separator)
        kept = {_same(tag): tag for tag in reversed(tags)}
        if len(kept) == len(tags):
            return caption
        return join_tags(list(kept.values())[::-1], self.separator)


@dataclass(frozen=True)
class AddText:
    """Put words before or after every caption that has them not; a blank between where needed."""

    text: str
    at_end: bool = False

    def apply(self, files: Files) -> list[tuple[str, ...]]:
        """Return the captions after it."""
        return [tuple(self._one(caption) for caption in captions or ("",)) for captions in files]

    def _one(self, caption: str) -> str:
        text = self.text.strip()
        if not caption:
            return text
        if self.at_end:
            blank = "" if text[0] in ",.;:!?)" else " "
            return caption if caption.endswith(text) else f"{caption}{blank}{text}"
        return caption if caption.startswith(text) else f"{text} {caption}"


@dataclass(frozen=True)
class FindReplace:
    """Replace a text, or what a regular expression finds, wherever it stands in a caption."""

    find: str
    replacement: str = ""
    is_pattern: bool = False
    match_case: bool = False

    def apply(self, files: Files) -> list[tuple[str, ...]]:
        """Return the captions after it. Raises `UserError` for a pattern that is wrong or slow."""
        texts = [caption for captions in files for caption in captions]
        changed = iter(
            substitute(
                texts,
                self.find,
                self.replacement,
                is_pattern=self.is_pattern,
                match_case=self.match_case,
            )
        )
        return [tuple(next(changed) for _ in captions) for captions in files]


CaptionEdit = AddTags | ReplaceTags | SortTags | DedupeTags | AddText | FindReplace


def _each(files: Files, change: Callable[[str], str]) -> list[tuple[str, ...]]:
    return [tuple(change(caption) for caption in captions) for captions in files]


def _same(tag: str) -> str:
    return tag.casefold()


def edit_of(data: Mapping[str, Any]) -> CaptionEdit:
    """Return the change that a page or a file describes: `kind` and what belongs to it.

    Raises `UserError` for what is missing, too long or no change at all.
    """
    kind = str(data.get("kind") or "")
    match kind:
        case "add":
            return AddTags(_tags(data, "tags"), in_front=bool(data.get("in_front")))
        case "remove":
            return ReplaceTags(_tags(data, "tags"))
        case "replace":
            return ReplaceTags(_tags(data, "tags"), _tags(data, "new", needed=False))
        case "sort":
            keep = data.get("keep_first")
            first = keep if isinstance(keep, int) and keep > 0 else 0
            return SortTags("often" if data.get("by") == "often" else "name", first)
        case "dedupe":
            return DedupeTags()
        case "prefix" | "postfix":
            return AddText(clean_caption(_text(data, "text", needed=True)), kind == "postfix")
        case "find":
            find = _text(data, "find", needed=True, limit=MAX_PATTERN)
            return FindReplace(
                find,
                _text(data, "replacement"),
                is_pattern=bool(data.get("is_pattern")),
                match_case=bool(data.get("match_case")),
            )
    raise UserError(f"There is no change of captions called {kind!r}.")


_NAMES: Final = {"tags": "tags", "text": "the text", "find": "what is looked for"}


def _text(data: Mapping[str, Any], key: str, *, needed: bool = False, limit: int = MAX_TEXT) -> str:
    text = str(data.get(key) or "")
    if needed and not (text if key == "find" else text.strip()):  # two blanks can be looked for
        raise UserError(f"Give {_NAMES[key]} first.")
    if len(text) > limit:
        raise UserError(f"That is too long: {len(text):,} letters, at most {limit:,} can be used.")
    return text


def _tags(data: Mapping[str, Any], key: str, *, needed: bool = True) -> tuple[str, ...]:
    text = _text(data, key, needed=needed)
    tags = tuple(dict.fromkeys(tags_of(clean_caption(text))))
    if needed and not tags:
        raise UserError(f"Give {_NAMES[key]} first.")
    return tags
