"""Which pictures are held out for validation: by content, so that none is on both sides.

Pictures with the same bytes are one, wherever they lie and however often they are shown. Which
ones are chosen follows from the seed and the content alone: neither names, nor the order of files,
nor repeats matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.dataset.ready import Ready
from sd_scripts.dataset.samples import Sample
from sd_scripts.dataset.scan import Progress
from sd_scripts.dataset.settings import DatasetSettings
from sd_scripts.dataset.words import count
from sd_scripts.errors import Problem


@dataclass(frozen=True)
class SplitSubset:
    """The pictures of one subset by their content's hash, and which share is held out."""

    contents: tuple[str, ...]
    share: float
    seed: int
    is_reg: bool = False


def held_out(subsets: Sequence[SplitSubset]) -> frozenset[str]:
    """The contents that are held out of training, everywhere.

    Of each subset's n different pictures, n·share (rounded) are chosen; those that a subset before
    chose already count. Regularisation pictures, and what is one elsewhere, are never chosen.
    """
    regular = {content for subset in subsets if subset.is_reg for content in subset.contents}
    chosen: set[str] = set()
    for subset in subsets:
        if subset.is_reg or not subset.share:
            continue
        contents = set(subset.contents)
        wanted = int(len(contents) * subset.share + 0.5) - len(contents & chosen)
        free = _in_order(contents - chosen - regular, subset.seed)
        chosen.update(free[: max(wanted, 0)])
    return frozenset(chosen)


def _in_order(contents: Iterable[str], seed: int) -> list[str]:
    def place(content: str) -> bytes:
        return hashlib.blake2b(f"{seed}/validation/{content}".encode(), digest_size=16).digest()

    return sorted(contents, key=place)


@dataclass(frozen=True)
class Taken:
    """What there is to say about pictures that were held out."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def hold_out(
    index: PictureIndex,
    datasets: Sequence[DatasetSettings],
    ready: Sequence[Sequence[Ready]],
    progress: Progress | None,
) -> Taken:
    """Move what is held out from `placed` to `held_out` of each subset; raises `OSError`.

    A picture is measured once in each dataset that asks for validation, and trained nowhere.
    """
    pairs = [(number, subset) for number, group in enumerate(ready) for subset in group]
    paths = [subset.path(placed) for _, subset in pairs for placed in subset.placed]

    def heard(done: int, total: int) -> None:
        if progress:
            progress("Looking for equal pictures", done, total)

    contents = index.content_hashes(paths, heard)
    chosen = held_out(
        [
            SplitSubset(
                tuple(contents[subset.path(placed)] for placed in subset.placed),
                datasets[number].validation_split,
                datasets[number].validation_seed,
                subset.settings.is_reg,
            )
            for number, subset in pairs
        ]
    )
    measured: set[tuple[int, str]] = set()
    for number, subset in pairs:
        placed_before, subset.placed = subset.placed, []
        for placed in placed_before:
            content = contents[subset.path(placed)]
            if content not in chosen:
                subset.placed.append(placed)
            elif datasets[number].validation_split and (number, content) not in measured:
                measured.add((number, content))
                subset.held_out.append(placed)
    return _told(len(chosen), len(set(contents.values())))


def _told(num_chosen: int, num_contents: int) -> Taken:
    if num_chosen or not num_contents:
        note = f"{count(num_chosen, 'picture')} of {num_contents} are held out for validation"
        return Taken(notes=(note,))
    problem = Problem(
        f"validation_split is too small to hold out one of {count(num_contents, 'picture')}",
        "validation_split",
        f"set it to {0.5 / num_contents:.3f} or more, or to 0",
    )
    return Taken(problems=(problem,))


def without_chance(sample: Sample) -> Sample:
    """A sample as it is measured: shown once, with nothing that varies but wildcards."""
    return replace(
        sample,
        num_repeats=1,
        flip=False,
        random_crop=False,
        color_aug=False,
        face_crop_aug_range=None,
        rules=_steady(sample.rules),
    )


def _steady(rules: CaptionRules) -> CaptionRules:
    return replace(
        rules,
        shuffle_caption=False,
        caption_dropout_rate=0.0,
        caption_dropout_every_n_epochs=0,
        caption_tag_dropout_rate=0.0,
        token_warmup_step=0.0,
    )
