"""Masks of what is in front: pictures through a salient-object model such as rembg uses.

U2-Net (https://arxiv.org/abs/2005.09007), IS-Net (https://arxiv.org/abs/2203.03041) and BiRefNet
(https://arxiv.org/abs/2401.03407) take one square picture and give how much each pixel belongs to
the subject; the lowest value of a picture becomes black, the highest white.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sd_scripts.captioning.onnx_tagger import (
    available_providers,
    choose_provider,
    open_session,
)
from sd_scripts.captioning.pictures import FoundPictures, Picture, find_pictures
from sd_scripts.captioning.pipeline import OPENERS, Background, Reading, batches_of
from sd_scripts.captioning.store import folder_problems
from sd_scripts.captioning.work import Done, Workplace, num_threads, started
from sd_scripts.dataset.mask_files import MaskPlaces, mask_bytes
from sd_scripts.dataset.pictures import PictureProblem, shown
from sd_scripts.dataset.words import count
from sd_scripts.errors import EXIT_OK, EXIT_USER, Problem, UserError, errors_among
from sd_scripts.files import nearest_folder
from sd_scripts.options.jobs import MakeMasksJob
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests
from sd_scripts.runs.undo import UndoJournal
from sd_scripts.script import Ending, stop_at_errors, tell

Numbers = NDArray[np.float32]


class Look(NamedTuple):
    """How a kind of model wants its pictures: the usual side in pixels, mean and deviation of the
    colours (0 to 1, red first), and whether its output is before the sigmoid."""

    side: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    sigmoid: bool = False


_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LOOKS: Final[dict[str, Look]] = {
    "u2net": Look(320, *_IMAGENET),
    "isnet": Look(1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
    "birefnet": Look(1024, *_IMAGENET, sigmoid=True),
}
"""By `mask_kind`."""


def kind_of(model: Path, wanted: str | None) -> str:
    """Return the kind that was asked for, else what the file's name says, else u2net."""
    name = model.name.lower()
    return wanted or next((kind for kind in LOOKS if kind in name), "u2net")


def normalised(picture: Image.Image, side: int, look: Look) -> Numbers:
    """Return an RGB picture as [3, side, side]: its brightest value becomes 1, then the mean is
    taken off and the deviation divided by (as rembg prepares them)."""
    small = picture.resize((side, side), Image.Resampling.LANCZOS)
    pixels: Numbers = np.asarray(small, np.float32)
    pixels = pixels / np.float32(max(float(pixels.max()), 1e-6))
    mean, deviation = np.array(look.mean, np.float32), np.array(look.deviation, np.float32)
    pixels = (pixels - mean) / deviation
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)


def stretched(values: NDArray[Any], *, sigmoid: bool) -> NDArray[np.uint8]:
    """Return [side, side] as greys from 0 (the lowest value) to 255 (the highest).

    A picture whose values are all the same has no subject: it is black.
    """
    wide = values.astype(np.float64)
    if sigmoid:
        wide = 1 / (1 + np.exp(-np.clip(wide, -700, 700)))
    low, high = float(wide.min()), float(wide.max())
    if not np.isfinite((low, high)).all() or high - low < 1e-9:
        return np.zeros(values.shape, np.uint8)
    return np.rint((wide - low) / (high - low) * 255).astype(np.uint8)


class SubjectFinder:
    """The engine of a masking job: one picture at a time, as these models are exported."""

    batch_size = 1

    def __init__(self, job: MakeMasksJob) -> None:
        """Load the model. Raises `UserError` with what the user can mend."""
        model = Path(job.masks.mask_model).expanduser()
        self.kind = kind_of(model, job.masks.mask_kind)
        self._look = LOOKS[self.kind]
        self.device, provider = choose_provider(job.inference.device, available_providers())
        self._session = open_session(model, provider, "mask_model")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = list(inputs[0].shape)
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
            raise _unfit(model, f"its input is {[list(one.shape) for one in inputs]}")
        if inputs[0].type != "tensor(float)":
            raise _unfit(model, f"its input is {inputs[0].type}")
        self._input, self._output = inputs[0].name, outputs[0].name
        self._side = shape[2] if isinstance(shape[2], int) else self._look.side
        self._model = model

    def prepare(self, picture: Image.Image) -> Numbers:
        """Return the picture as the model takes it, [3, side, side]."""
        return normalised(picture, self._side, self._look)

    def collate(self, prepared: Sequence[Numbers]) -> Numbers:
        """Return the batch of one."""
        return np.stack(prepared)

    def infer(self, batch: Numbers) -> Sequence[NDArray[np.uint8]]:
        """Return each picture's mask, [side, side]."""
        (found,) = self._session.run([self._output], {self._input: batch})
        values = cast(NDArray[Any], found)
        if values.ndim != 4 or len(values) != len(batch):
            raise _unfit(self._model, f"it gives {list(values.shape)}, not a mask for each picture")
        return [stretched(one[0], sigmoid=self._look.sigmoid) for one in values]

    def text(self, outcome: NDArray[np.uint8]) -> str:
        """Say how much of the picture is the subject."""
        return f"{outcome.mean() / 255:.0%}"

    def close(self) -> None:
        """Free the model's memory."""
        del self._session
        gc.collect()


def _unfit(model: Path, why: str) -> UserError:
    return UserError(
        f"{shown(model)} is not a model that finds a subject: {why}",
        option="mask_model",
        hint="Choose one that rembg uses, such as u2net.onnx.",
    )


def look_ahead(job: MakeMasksJob) -> FoundPictures:
    """Find the pictures; everything that is wrong is among the problems."""
    pictures = job.pictures
    found = find_pictures(Path(pictures.train_data_dir), ".png", recursive=pictures.recursive)
    model = Path(job.masks.mask_model).expanduser()
    if not model.is_file():
        what = "is a folder" if model.is_dir() else "is not there"
        found.problems.append(
            Problem(f"{shown(model)} {what}", "mask_model", "Choose an ONNX file of your own.")
        )
    masks = _mask_folder(job)
    found.problems += folder_problems([nearest_folder(masks)], "mask_dir")
    _look_at_targets(job, found)
    return found


def _look_at_targets(job: MakeMasksJob, found: FoundPictures) -> None:
    """Leave out pictures whose mask another one has; refuse masks that are pictures."""
    places = _places(job)
    shared = places.shared(one.path for one in found.pictures)
    for picture, owner in shared.items():
        found.problems.append(
            Problem(
                f"{shown(picture)} would share its mask with {shown(owner)}; it is left out",
                "train_data_dir",
                "Give its folder another name, or one of the two pictures.",
                severity="warning",
            )
        )
    pictures = {os.path.realpath(one.path) for one in found.pictures}
    found.pictures = [one for one in found.pictures if one.path not in shared]
    folders = {os.path.realpath(folder) for folder in found.folders}
    targets = {os.path.realpath(places.path(one.path)) for one in found.pictures}
    if targets & pictures or folders & {os.path.dirname(target) for target in targets}:
        found.problems.append(
            Problem(
                "masks would be written onto the pictures", "mask_dir", "Choose another folder."
            )
        )


def _places(job: MakeMasksJob) -> MaskPlaces:
    return MaskPlaces(Path(job.pictures.train_data_dir).expanduser().absolute(), _mask_folder(job))


def _mask_folder(job: MakeMasksJob) -> Path:
    return Path(job.masks.mask_dir).expanduser().absolute()


@dataclass
class _Masks:
    """Writes masks; what was there before is kept for undoing."""

    job: MakeMasksJob
    place: Workplace
    places: MaskPlaces
    total: int
    written: int = 0
    broken: int = 0
    journal: UndoJournal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = UndoJournal(self.place.run.undo)

    def keep(self, batches: Sequence[Done]) -> None:
        """Write the masks of some batches."""
        for batch in batches:
            for problem in batch.broken:
                self._leave_out(problem)
            self._write(batch)
        self.place.reporter.phase("Masking", self.written + self.broken, self.total)

    def _write(self, batch: Done) -> None:
        for entry, outcome in zip(batch.entries, batch.outcomes, strict=True):
            path = self.places.path(entry.picture.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = mask_bytes(Image.fromarray(outcome), entry.size)
            for error in self.journal.write({path: data}).values():
                raise error
            self.written += 1
            text = f"{outcome.mean() / 255:.0%}"
            if self.job.inference.debug:
                self.place.reporter.say(f"{shown(entry.picture.path)}: {text}")
            self.place.reporter.caption(entry.picture.path, text, kept=True)

    def _leave_out(self, problem: PictureProblem) -> None:
        self.broken += 1
        self.place.reporter.warn(
            Problem(f"{problem}; it is left out", "train_data_dir", problem.hint, "warning")
        )


def make_masks(
    job: MakeMasksJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    """Do the job in an open run folder. Raises `UserError` for what the user can mend."""
    found = look_ahead(job)
    stop_at_errors(found.problems, reporter)
    places = _places(job)
    pictures = [
        one for one in found.pictures if not job.masks.only_missing or places.find(one.path) is None
    ]
    reporter.start(started(len(pictures), run))
    if not pictures:
        return "finished", "Finished: every picture has a mask already"
    reporter.phase("Loading the model", 0, 0, job.masks.mask_model)
    engine = SubjectFinder(job)
    reporter.say(f"A model of kind {engine.kind} runs on {engine.device}")
    masks = _Masks(job, Workplace(run, reporter, requests), places, len(pictures))
    threads = num_threads(job.inference.max_data_loader_n_workers)
    ending = _walk(engine, pictures, Reading(threads, OPENERS[job.pictures.large_pictures]), masks)
    told = f"{masks.written} of {count(len(pictures), 'picture')} have a mask now"
    broken = f"; {masks.broken} could not be read" if masks.broken else ""
    word = "Finished" if ending == "finished" else "Stopped on request"
    return ending, f"{word}: {told}{broken}"


def _walk(
    engine: SubjectFinder, pictures: Sequence[Picture], reading: Reading, masks: _Masks
) -> Ending:
    background = Background[Done](masks.keep)
    requests = masks.place.requests
    try:
        with closing(batches_of(engine, pictures, reading)) as batches:
            for batch in batches:
                outcomes = engine.infer(batch.inputs) if batch.entries else ()
                background.put(Done(batch.entries, batch.broken, outcomes))
                requests.wait_while_paused()
                if requests.stop():
                    return "stopped"
    finally:
        background.finish()
        engine.close()
    return "finished"


def check_masks(job: MakeMasksJob, notes: Sequence[Problem]) -> int:
    """Print what would be done and what is wrong; returns the exit code."""
    found = look_ahead(job)
    problems = [*notes, *found.problems]
    print(f"Model:     {job.masks.mask_model}")
    print(f"Pictures:  {len(found.pictures)} in {count(len(found.folders), 'folder')}")
    print(f"Masks:     {job.masks.mask_dir}")
    tell(problems)
    return EXIT_USER if errors_among(problems) else EXIT_OK
