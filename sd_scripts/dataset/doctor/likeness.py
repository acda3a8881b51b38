"""Pictures that are there twice: the same bytes, near twins, one picture in several folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sd_scripts.dataset.doctor.findings import Finding
from sd_scripts.dataset.doctor.measure import Measures
from sd_scripts.dataset.doctor.view import View, leave_out, names
from sd_scripts.dataset.words import count

MAX_DISTANCE: Final = 8
"""Bits of 64 by which hashes of near twins differ at most. Unrelated pictures differ by 32 on
average with a deviation of 4, so that one pair in a billion would come as near by chance; saving
again, scaling and slight cropping change 0 to 8."""

MAX_DIFFERENCE: Final = 10.0
"""Mean difference of grey values, 0 … 255, of twins at 16 x 16 pixels, made equally bright.
It keeps plain pictures apart, whose hashes say little."""

_BLOCK: Final = 256


def twins(view: View) -> Iterator[Finding]:
    """The same bytes, and nearly the same pictures, each told in groups."""
    same = _same_bytes(view)
    together = [group for group in same if len({path.parent for path in group}) == 1]
    apart = [group for group in same if len({path.parent for path in group}) > 1]
    if together:
        yield _told(view, "same", together, "the same file under several names")
    if apart:
        yield _told(view, "several_folders", apart, "one picture in several folders")
    first = {path: group[0] for group in same for path in group}
    alike = near_groups(
        {
            sample.path: one
            for sample, one in view.sound()
            if first.get(sample.path, sample.path) == sample.path
        }
    )
    if alike:
        yield _told(view, "near", alike, "near twins")


def _same_bytes(view: View) -> list[list[Path]]:
    groups: dict[tuple[str, object], list[Path]] = {}
    for sample in view.samples:
        content = view.hashes.get(sample.path)
        if content is not None:
            # Two windows of one picture are two pictures.
            groups.setdefault((content, sample.window), []).append(sample.path)
    return [group for group in groups.values() if len(group) > 1]


def _told(view: View, code: str, groups: Sequence[Sequence[Path]], words: str) -> Finding:
    paths = [path for group in groups for path in group]
    rest = [path for group in groups for path in _all_but_best(group, view.measures)]
    return Finding(
        code,
        "bad" if code != "near" else "doubtful",
        f"{count(len(paths), 'picture')} are {words}, in {count(len(groups), 'group')}."
        " What is there twice is learned twice as hard and makes the rest of the picture stick.",
        names(paths),
        tuple(names(group) for group in groups),
        remedies=(leave_out(rest, "Leave out all but the best of each group"),),
    )


def _all_but_best(group: Sequence[Path], measures: Mapping[Path, Measures]) -> list[Path]:
    """All but the largest picture; among equals the sharpest, then the first."""

    def worth(path: Path) -> tuple[int, float]:
        one = measures.get(path)
        return (one.used[0] * one.used[1], one.sharpness) if one else (0, 0.0)

    best = max(group, key=worth)
    return [path for path in group if path != best]


def near_groups(measures: Mapping[Path, Measures]) -> list[list[Path]]:
    """Groups of pictures that look alike, mirrored ones too, in the order of `measures`.

    All pairs are compared, in blocks: 10,000 pictures are 50 million pairs, less than a second.
    """
    paths = list(measures)
    if not paths:
        return []
    hashes = np.array([one.fingerprint for one in measures.values()], np.uint64)
    mirrored = np.array([one.mirrored for one in measures.values()], np.uint64)
    tiny = np.stack([_levelled(one.tiny) for one in measures.values()])
    group = list(range(len(paths)))
    for first, second in _near_pairs(hashes, mirrored):
        if _looks_alike(tiny[first], tiny[second]):
            group[_root(group, second)] = _root(group, first)
    found: dict[int, list[Path]] = {}
    for number, path in enumerate(paths):
        found.setdefault(_root(group, number), []).append(path)
    return [one for one in found.values() if len(one) > 1]


def _near_pairs(
    hashes: NDArray[np.uint64], mirrored: NDArray[np.uint64]
) -> Iterator[tuple[int, int]]:
    """Pairs (first < second) whose hashes are near, as they are or with one of them mirrored."""
    for start in range(0, len(hashes), _BLOCK):
        block, rest = hashes[start : start + _BLOCK, None], slice(start, None)
        near = np.bitwise_count(block ^ hashes[None, rest]) <= MAX_DISTANCE
        near |= np.bitwise_count(block ^ mirrored[None, rest]) <= MAX_DISTANCE
        for row, column in zip(*np.nonzero(near), strict=True):
            if row < column:
                yield start + int(row), start + int(column)


def _levelled(tiny: bytes) -> NDArray[np.float32]:
    """16 x 16 grey values around 0."""
    values = np.frombuffer(tiny, np.uint8).astype(np.float32).reshape(16, 16)
    levelled: NDArray[np.float32] = values - values.mean()
    return levelled


def _looks_alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    differences = (np.abs(first - second).mean(), np.abs(first - second[:, ::-1]).mean())
    return bool(min(differences) <= MAX_DIFFERENCE)


def _root(group: list[int], number: int) -> int:
    while group[number] != number:
        group[number] = group[group[number]]
        number = group[number]
    return number
