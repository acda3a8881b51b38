"""What a captioning job will do, and everything that is wrong with it, before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sd_scripts.captioning.pictures import FoundPictures, Picture, find_pictures
from sd_scripts.captioning.store import (
    CaptionFiles,
    Merge,
    MetadataFile,
    Store,
    TextKind,
    folder_problems,
    read_metadata,
)
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.words import count
from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.options.groups.captioning import CaptionFileOptions, PictureFolderOptions
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.undo import UndoJournal


@dataclass
class Plan:
    """The pictures of a job and where their texts go. `problems` hold warnings too."""

    files: CaptionFileOptions
    found: FoundPictures
    large_pictures: str
    problems: list[Problem] = field(default_factory=list)

    @property
    def pictures(self) -> Sequence[Picture]:
        """All pictures, with a text already or not."""
        return self.found.pictures

    def store(self, run: RunFolder, kind: TextKind, merge: Merge | None) -> Store:
        """Return where texts go; what is overwritten is kept in the run folder."""
        journal = UndoJournal(run.undo)
        if self.files.output_path:
            return MetadataFile(Path(self.files.output_path).absolute(), kind, journal, merge)
        return CaptionFiles(journal, merge)

    def without_text(self, store: Store) -> list[Picture]:
        """Return the pictures to do: with `only_missing`, those without a text."""
        if not self.files.only_missing:
            return list(self.pictures)
        return [picture for picture in self.pictures if not store.has_text(picture)]


def plan_folder(folder: PictureFolderOptions, files: CaptionFileOptions) -> Plan:
    """Look for the pictures and at where their texts go; everything wrong is in `problems`."""
    found = find_pictures(
        Path(folder.train_data_dir), files.caption_extension, recursive=folder.recursive
    )
    plan = Plan(files, found, folder.large_pictures, list(found.problems))
    if files.output_path is None:
        plan.problems += folder_problems(found.folders, "train_data_dir")
        return plan
    target = Path(files.output_path).absolute()
    if not target.parent.is_dir():
        plan.problems.append(
            Problem(
                f"The folder {shown(target.parent)} is not there", "output_path", "Make it first."
            )
        )
        return plan
    plan.problems += folder_problems([target.parent], "output_path")
    try:
        read_metadata(target)
    except UserError as error:
        plan.problems += error.problems
    return plan


def report_lines(plan: Plan, model: str) -> list[str]:
    """Return what would be done, a line at a time."""
    where = plan.files.output_path or f"a {plan.files.caption_extension} file beside each"
    return [
        f"Model:     {model}",
        f"Pictures:  {len(plan.pictures)} in {count(len(plan.found.folders), 'folder')}",
        f"Output:    {where}",
    ]


def verdict(problems: Sequence[Problem]) -> str:
    """Return the last line of a check."""
    if errors := errors_among(problems):
        return f"\n{len(errors)} to mend before this can run."
    return "\nEverything that can be known beforehand is in order."
