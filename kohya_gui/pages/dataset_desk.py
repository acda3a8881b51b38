"""What every tab of the data set page is given: the chosen folder, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kohya_gui.context import Context
from kohya_gui.datasets.places import DatasetPlace, place_of
from kohya_gui.forms.preparation import whole_path
from kohya_gui.quick_gradio import gr
from sd_scripts.dataset.caption_files import CAPTION_SUFFIXES
from sd_scripts.dataset.listing import list_folder
from sd_scripts.errors import UserError


@dataclass(frozen=True)
class DatasetDesk:
    """Handed to `build` of every tab.

    `folder` is a hidden text field with the real path of the chosen folder, "" while none is: an
    input for events, and `folder.change` tells when another one was chosen. Scripts read
    `KG.dataset.folder` and hear of changes by `KG.dataset.onFolder(work)`, which calls `work` at
    once if there is one already.
    """

    context: Context
    folder: gr.Textbox

    def resolve(self, folder: str) -> Path:
        """Return the real path of a folder that a page asks for, which is never to be trusted.

        Raises `UserError` when it is outside of the folders that may be looked into, not there, no
        folder, or not readable.
        """
        wanted = folder.strip()
        if not wanted:
            raise UserError("No folder was chosen.", hint="Choose the folder of your pictures.")
        browser = self.context.browser()
        real = browser.resolve(whole_path(wanted, self.context.workspace))
        try:
            if not real.exists():
                raise UserError(f"{real} is not there.", hint="Choose another folder.")
            if not real.is_dir():
                raise UserError(f"{real} is a file.", hint="Choose the folder it lies in.")
            next(real.iterdir(), None)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UserError(
                f"{real} cannot be read: {reason}.",
                hint="Change its rights or choose another folder.",
            ) from error
        return real

    def place(self, folder: Path) -> DatasetPlace:
        """Return where the workspace keeps what belongs to a data set: decisions, undo, reports."""
        return place_of(self.context.workspace, folder)


def usual_ending(folder: Path) -> str:
    """Return the ending that most caption files of a folder, and of those in it, have."""
    counts = dict.fromkeys(CAPTION_SUFFIXES, 0)
    try:
        top = list_folder(folder)
        for place in (folder, *(folder / name for name in top.folders[:20])):
            for name in list_folder(place).texts:
                ending = Path(name).suffix
                if ending in counts:
                    counts[ending] += 1
    except OSError:
        return CAPTION_SUFFIXES[0]  # what cannot be read is told by what reads it
    return max(counts, key=lambda ending: counts[ending])
