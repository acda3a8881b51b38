"""Captions: missing, empty, the same for several pictures, without the trigger word, too long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sd_scripts.dataset.doctor.findings import Finding
from sd_scripts.dataset.doctor.view import View, are, leave_out, mend_captions, names, pictures_word
from sd_scripts.dataset.samples import Sample
from sd_scripts.dataset.tokens import count_all
from sd_scripts.dataset.words import count, some

COMMON_SHARE: Final = 0.5
"""A folder's first word is taken for the trigger word if half of its captions hold it: then the
others were rather forgotten than meant so."""


def missing(view: View) -> Iterator[Finding]:
    """Pictures without a caption file, or with an empty one; and captions that can't be read."""
    subsets = [subset for dataset in view.plan.datasets for subset in dataset.subsets]
    for code, words, found in (
        ("no_caption", "no caption", [p for one in subsets for p in one.missing_captions]),
        ("empty_caption", "an empty caption", [p for one in subsets for p in one.empty_captions]),
    ):
        if found:
            number = len(found)
            instead = some(dict.fromkeys(_instead(view, found)), 3)
            yield Finding(
                code,
                "doubtful",
                f"{pictures_word(number)} {are(number, 'has', 'have')} {words};"
                f" {are(number, 'it is', 'they are')} learned with {instead}.",
                names(found),
                remedies=(mend_captions(found, "Write captions"),),
            )
    damaged = {path: why for one in subsets for path, why in one.bad_captions.items()}
    if damaged:
        number = len(damaged)
        yield Finding(
            "bad_caption",
            "bad",
            f"The caption {are(number, 'file', 'files')} of {pictures_word(number)} can't be read, "
            f"so training would not start: save {are(number, 'it', 'them')} again as plain text "
            f"(UTF-8), or leave {are(number, 'the picture', 'the pictures')} out.",
            names(damaged),
            details=dict(zip(names(damaged), damaged.values(), strict=True)),
            remedies=(leave_out(damaged),),
        )


def _instead(view: View, found: list[Path]) -> Iterator[str]:
    captions = {sample.path: sample.caption for sample in view.samples}
    for path in found:
        text = captions.get(path, "")
        yield f"the folder's words “{text}”" if text else "no words at all"


def _own(view: View) -> Iterator[Sample]:
    """Pictures with a caption of their own, which are no regularisation pictures."""
    subsets = [subset for dataset in view.plan.datasets for subset in dataset.subsets]
    without = {
        path
        for one in subsets
        for path in (*one.missing_captions, *one.empty_captions, *one.bad_captions)
    }
    return (
        sample
        for sample in view.samples
        if not sample.is_reg and sample.path not in without and sample.caption
    )


def repeated(view: View) -> Iterator[Finding]:
    """Different pictures with one and the same caption."""
    groups: dict[str, list[Path]] = {}
    for sample in _own(view):
        groups.setdefault(" ".join(sample.caption.casefold().split()), []).append(sample.path)
    same = [group for group in groups.values() if len(group) > 1]
    if same:
        paths = [path for group in same for path in group]
        yield Finding(
            "same_caption",
            "note" if len(same) == len(groups) == 1 else "doubtful",
            f"{pictures_word(len(paths))} share their caption with others, in"
            f" {count(len(same), 'group')}. Words then can't tell apart what differs in them.",
            names(paths),
            tuple(names(group) for group in same),
            remedies=(mend_captions(paths, "Edit these captions"),),
        )


def trigger(view: View) -> Iterator[Finding]:
    """Captions that lack the word which shall call what is learned."""
    by_folder: dict[tuple[int, int], list[Sample]] = {}
    for sample in _own(view):
        by_folder.setdefault((sample.dataset, sample.subset), []).append(sample)
    lacking: dict[str, list[Path]] = {}
    for (dataset, subset), samples in by_folder.items():
        settings = view.plan.datasets[dataset].subsets[subset].settings
        word = view.wishes.trigger or _likely(settings.class_tokens, samples)
        if not word:
            continue
        found = [sample.path for sample in samples if not _holds(sample.caption, word)]
        if found:
            lacking.setdefault(word, []).extend(found)
    for word, paths in lacking.items():
        number = len(paths)
        yield Finding(
            "no_trigger",
            "bad",
            f"The caption of {pictures_word(number)} lacks the word “{word}”, which shall call what"
            f" is learned: {are(number, 'it', 'they')} will be learned without it.",
            names(paths),
            remedies=(mend_captions(paths, f"Put “{word}” in front", f"{word}, "),),
        )


def _likely(class_tokens: str | None, samples: list[Sample]) -> str | None:
    """The first word of the folder's name, if most captions hold it anyway."""
    word = next(iter((class_tokens or "").split()), None)
    if word is None:
        return None
    number = sum(_holds(sample.caption, word) for sample in samples)
    return word if number >= COMMON_SHARE * len(samples) else None


def _holds(caption: str, word: str) -> bool:
    """Whether every line of a caption holds a word (or words), not as a part of another."""
    wanted = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    return all(wanted.search(line) for line in caption.split("\n"))


def too_long(view: View) -> Iterator[Finding]:
    """Captions of which the end is never read."""
    limit = view.wishes.max_tokens
    lines = [(sample.path, line) for sample in view.samples for line in sample.caption.split("\n")]
    found: dict[Path, int] = {}
    for (path, _), number in zip(lines, count_all([line for _, line in lines]), strict=True):
        if number > limit:
            found[path] = max(number, found.get(path, 0))
    if found:
        number = len(found)
        longer = f" Shorten {are(number, 'it', 'them')}, or raise max_token_length."
        yield Finding(
            "too_long",
            "doubtful",
            f"The caption of {pictures_word(number)} has more than {limit} tokens: the end is never"
            f" read.{longer if limit < 225 else ''}",
            names(found),
            details={
                name: f"{tokens} tokens"
                for name, tokens in zip(names(found), found.values(), strict=True)
            },
            remedies=(mend_captions(found, "Shorten these captions"),),
        )
