"""From a folder of any layout to concepts: pictures, captions, masks, and all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.captioning.pictures import FoundPictures, Picture, find_pictures
from sd_scripts.curating.layout import Concept, Source
from sd_scripts.dataset.decision_files import about_another_folder, read_decisions
from sd_scripts.dataset.decisions import Decisions
from sd_scripts.dataset.folders import folder_problem, parse_folder_name
from sd_scripts.dataset.index import hash_file
from sd_scripts.dataset.large_pictures import open_scaled
from sd_scripts.dataset.listing import list_folder
from sd_scripts.dataset.pictures import PictureProblem, PictureTooLarge, probe, shown
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import PreparePicturesJob

Progress = Callable[[str, int, int], None]


@dataclass
class Gathered:
    """What was found; `problems` hold warnings too."""

    concepts: list[Concept] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _MaskFiles:
    """The masks in a folder and those inside it; each is listed once."""

    def __init__(self, masks: Path | None) -> None:
        self._masks = masks
        self._names: dict[Path, dict[str, str]] = {}

    def of(self, path: Path) -> Path | None:
        """The mask of a picture's name: in a folder named as the picture's, or directly there."""
        if self._masks is None:
            return None
        for folder in (self._masks / path.parent.name, self._masks):
            name = self._listed(folder).get(path.stem)
            if name is not None:
                return folder / name
        return None

    def _listed(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            names = list_folder(folder).pictures if folder.is_dir() else ()
            self._names[folder] = {os.path.splitext(name)[0]: name for name in reversed(names)}
        return self._names[folder]


def gather(job: PreparePicturesJob, progress: Progress | None = None) -> Gathered:
    """Look at every picture's header and bytes; nothing is changed. Never raises for a mistake."""
    wishes = job.pictures
    folder = Path(wishes.train_data_dir).expanduser().absolute()
    extension = wishes.caption_extension
    extension = extension if extension.startswith(".") else f".{extension}"
    found = find_pictures(folder, extension, recursive=wishes.recursive)
    gathered = Gathered(problems=list(found.problems))
    decisions = _decisions(job, folder, gathered.problems)
    masks = _MaskFiles(_masks(job, gathered.problems))
    sources: dict[Path, list[Source]] = {one: [] for one in found.folders}
    for number, picture in enumerate(_wanted(found, decisions), 1):
        source = _source(picture, decisions, masks, job, gathered.problems)
        if source is not None:
            sources[picture.path.parent].append(source)
        if progress:
            progress("Reading pictures", number, len(found.pictures))
    gathered.concepts = [
        _concept(place, tuple(pictures), job) for place, pictures in sources.items() if pictures
    ]
    if not gathered.concepts and not any(p.severity == "error" for p in gathered.problems):
        gathered.problems.append(
            Problem("no picture is left to make anything of", "train_data_dir", "choose others")
        )
    return gathered


def _decisions(job: PreparePicturesJob, folder: Path, problems: list[Problem]) -> Decisions | None:
    if job.pictures.picture_decisions is None:
        return None
    file = Path(job.pictures.picture_decisions).expanduser()
    try:
        decisions = read_decisions(file)
    except UserError as error:
        problems += error.problems
        return None
    if decisions.name_of(folder) is None:
        problems.append(about_another_folder(file, decisions))
    return decisions


def _wanted(found: FoundPictures, decisions: Decisions | None) -> Iterator[Picture]:
    for picture in found.pictures:
        if decisions is None or not decisions.of(picture.path).exclude:
            yield picture


def _masks(job: PreparePicturesJob, problems: list[Problem]) -> Path | None:
    if job.pictures.conditioning_data_dir is None:
        return None
    folder = Path(job.pictures.conditioning_data_dir).expanduser()
    try:
        list_folder(folder)
    except OSError as error:
        problems.append(folder_problem(folder, "conditioning_data_dir", error))
        return None
    return folder


def _source(
    picture: Picture,
    decisions: Decisions | None,
    masks: _MaskFiles,
    job: PreparePicturesJob,
    problems: list[Problem],
) -> Source | None:
    """One picture with what belongs to it; None where it can't be used, which is told."""
    path = picture.path
    try:
        size = _size(path, scale=job.pictures.large_pictures == "scale")
        content = hash_file(path)
    except PictureProblem as problem:
        problems.append(_left_out(f"{problem}", problem.hint))
        return None
    except OSError as error:
        problems.append(_left_out(f"{shown(path)} can't be read ({error.strerror or error})", None))
        return None
    window = decisions.of(path).crop if decisions else None
    if window is not None and not window.fits(size):
        told = f"the crop window of {shown(path)} does not lie within the picture"
        problems.append(Problem(told, "picture_decisions", "choose it anew, or delete it"))
    caption = picture.caption if picture.caption.is_file() else None
    mask = masks.of(path)
    if mask is not None and (unfit := _unfit_mask(mask, size)):
        problems.append(Problem(unfit, "conditioning_data_dir", "save it at its picture's size"))
    return Source(path, size, content, window, caption, mask)


def _size(path: Path, *, scale: bool) -> tuple[int, int]:
    try:
        return probe(path).size
    except PictureTooLarge:
        if not scale:
            raise
        return open_scaled(path)[1]


def _left_out(told: str, hint: str | None) -> Problem:
    return Problem(f"{told}; it is left out", "train_data_dir", hint, "warning")


def _unfit_mask(mask: Path, size: tuple[int, int]) -> str | None:
    try:
        found = probe(mask).size
    except PictureProblem as problem:
        return f"the mask {problem}"
    if found == size:
        return None
    return (
        f"the mask {shown(mask)} has {found[0]}x{found[1]} pixels, its picture {size[0]}x{size[1]}"
    )


def _concept(place: Path, sources: tuple[Source, ...], job: PreparePicturesJob) -> Concept:
    named = parse_folder_name(place.name) if "_" in place.name else None
    if named and 1 <= named[0] <= 1000 and named[1]:
        return Concept(named[1], named[0], sources)
    words = job.folder.concept_words or place.name
    return Concept(words, job.folder.dataset_repeats, sources)
