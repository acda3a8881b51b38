"""Captions of sd-scripts' cache files (SDXL): found, checked against the encoders, used, written.

A file holds one picture's caption as it stands in the caption file, without prefix or suffix, and
tells neither its text nor its encoders. So a caption that is changed before it is learned is not
taken from a file, nor one whose text is newer than its file, and of each folder one file is
compared with what the encoders really give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from sd_scripts.data.kohya_files import (
    UnfitFile,
    read_text,
    text_arrays,
    text_file,
    write_arrays,
)
from sd_scripts.dataset.caption_files import caption_names
from sd_scripts.dataset.captions import static_caption
from sd_scripts.dataset.listing import Listing, list_folder
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.words import count

Text = Mapping[str, Tensor]
"""One caption's outputs as the text cache keeps them: `hidden` [n, 2048], `pooled` [1280]."""

_TOLERANCE: Final = 0.1


@dataclass
class KohyaTexts:
    """Which captions are taken from files, and why others are not.

    `shape` is that of the states the job works with (77, 152 or 227 tokens, 2048 numbers each),
    `pooled_width` the length of the pooled vector. `files` are all that fit.
    """

    shape: tuple[int, int]
    pooled_width: int
    dtype: torch.dtype
    found: dict[str, Path] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    def look(self, plan: DatasetPlan) -> None:
        """Look for the files of all samples; those that do not fit are noted."""
        owners = _captions_by_file(plan)
        folders: dict[Path, Listing] = {}
        for file, captions in owners.items():
            if not file.is_file():
                continue
            (caption, sample), *others = captions.items()
            try:
                if others:
                    raise UnfitFile("of several pictures with one name and different captions")
                if not _stands(caption, sample):
                    raise UnfitFile("of captions that are changed before they are learned")
                if file.stat().st_mtime_ns < _newest_text(plan, sample, folders):
                    raise UnfitFile("older than the caption")
                self._read(file)
            except (UnfitFile, OSError) as error:
                self.refused[str(error)] += 1
                continue
            self.files.add(file)
            self.found.setdefault(caption, file)

    def check(self, encode: Callable[[str], Text]) -> None:
        """Compare one file of each folder with the encoders; files of others are not used."""
        alike: dict[Path, bool] = {}
        for caption, file in self.found.items():
            if file.parent not in alike:
                alike[file.parent] = _is_alike(self.get(caption), encode(caption))
        strange = {file for file in self.files if not alike.get(file.parent, True)}
        self.refused["made by other text encoders"] += len(strange)
        self.files -= strange
        self.found = {c: file for c, file in self.found.items() if file not in strange}

    def leave(self, captions: Iterable[str]) -> None:
        """Take these captions from elsewhere, though there may be files of them."""
        for caption in captions:
            self.found.pop(caption, None)

    def get(self, caption: str) -> dict[str, Tensor]:
        """Return the outputs of a caption that was found, in the job's dtype."""
        return self._read(self.found[caption])

    def _read(self, file: Path) -> dict[str, Tensor]:
        states, pooled = read_text(file)
        if states.shape != self.shape or pooled.shape != (self.pooled_width,):
            raise UnfitFile("of another length or width")
        return {
            "hidden": torch.from_numpy(states).to(self.dtype),
            "pooled": torch.from_numpy(pooled).to(self.dtype),
        }

    @property
    def text(self) -> str:
        """Return one sentence for the log; empty if there are no such files."""
        parts = [f"{count(len(self.found), 'caption')} from files of sd-scripts"]
        parts += [f"{number} not used: {why}" for why, number in self.refused.items() if number]
        return "; ".join(parts) if self.found or self.refused.total() else ""


def files_to_write(plan: DatasetPlan, fitting: Container[Path]) -> tuple[dict[Path, str], int]:
    """Return the files that are to hold a caption and are not among `fitting`, with the caption.

    And how many cannot be written: a file can only hold a caption that is learned as it stands,
    and that all pictures of its name share.
    """
    wanted: dict[Path, str] = {}
    left_out = 0
    for file, captions in _captions_by_file(plan).items():
        if len(captions) > 1 or not all(_stands(*item) for item in captions.items()):
            left_out += 1
        elif file not in fitting:
            (wanted[file],) = captions
    return wanted, left_out


def write_texts(
    wanted: Mapping[Path, str], outputs: Callable[[str], Text], first_width: int
) -> Iterator[Path]:
    """Write captions' files, yielding the files' names; raises `UserError`.

    `outputs` gives a caption's states and pooled vector, `first_width` says how many numbers of
    the states are the first encoder's.
    """
    for file, caption in wanted.items():
        text = {name: tensor.float().cpu().numpy() for name, tensor in outputs(caption).items()}
        write_arrays(file, text_arrays(text["hidden"], text["pooled"], first_width))
        yield file


def _captions_by_file(plan: DatasetPlan) -> dict[Path, dict[str, Sample]]:
    """Return what each file would hold: more than one caption where pictures share a stem."""
    found: dict[Path, dict[str, Sample]] = {}
    for sample in plan.all_samples:
        found.setdefault(text_file(sample.path), {}).setdefault(sample.caption, sample)
    return found


def _stands(caption: str, sample: Sample) -> bool:
    """Whether a caption is learned as it stands in its file."""
    return static_caption(caption, sample.rules) == caption


def _newest_text(plan: DatasetPlan, sample: Sample, folders: dict[Path, Listing]) -> int:
    """Return when the text of a sample's caption was last changed, in ns; 0 if it has no file."""
    settings = plan.datasets[sample.dataset].subsets[sample.subset].settings
    if settings.metadata_file is not None:
        return settings.metadata_file.stat().st_mtime_ns
    folder = sample.path.parent
    if folder not in folders:
        folders[folder] = list_folder(folder)
    name = folders[folder].text_file(caption_names(sample.path.stem, settings.caption_extension))
    return (folder / name).stat().st_mtime_ns if name else 0


def _is_alike(theirs: Text, ours: Text) -> bool:
    """Whether outputs are the same but for rounding.

    The states of the first token are left out: they are large, and the same for every caption.
    """
    pairs = [(theirs["hidden"][1:], ours["hidden"][1:]), (theirs["pooled"], ours["pooled"])]
    for one, other in pairs:
        right = other.float().cpu()
        if not bool((one.float() - right).square().mean() <= _TOLERANCE**2 * right.square().mean()):
            return False
    return True
