"""The data set page: choose a folder of pictures, then look at it and work on it in tabs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from types import ModuleType
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.datasets.places import forget_folder, recent_folders, remember_folder
from kohya_gui.guided.uploads import Piece, take_piece, upload_folder
from kohya_gui.pages import (
    dataset_doctor,
    dataset_masks,
    dataset_pictures,
    dataset_prepare,
    dataset_samples,
)
from kohya_gui.pages.dataset_desk import DatasetDesk, usual_ending
from kohya_gui.pages.dataset_jobs import Answer, in_words
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.shell import Page, told_by, widget
from kohya_gui.quick_gradio import gr
from kohya_gui.reasons import first_problem, told_row
from sd_scripts.errors import UserError

TABS: Final[tuple[ModuleType, ...]] = (
    dataset_pictures,
    dataset_doctor,
    dataset_samples,
    dataset_masks,
    dataset_prepare,
)
"""The tabs in their order. Each module has `TITLE`, the key of its title, and `build(desk)`."""
_DROP: Final = re.compile("[0-9a-f]{16}")


def _build(context: Context) -> None:
    text = context.text
    gr.HTML(
        f'<h1 class="kg-page-title">{escape(text("dataset.title"))}</h1>'
        f'<p class="kg-lead">{escape(text("dataset.lead"))}</p>',
        apply_default_css=False,
        js_on_load=None,
        elem_id="kg-dataset-head",
    )
    folder = gr.Textbox(visible="hidden", elem_id="kg-dataset-folder")
    desk = DatasetDesk(context, folder)
    FolderChoice(desk).build()
    with gr.Tabs(elem_id="kg-dataset-tabs"):
        for tab in TABS:
            with gr.Tab(text(tab.TITLE), id=tab.__name__.rpartition(".")[2]):
                tab.build(desk)


class FolderChoice:
    """The field at the top: typed, browsed for, or one of those opened last."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._workspace = desk.context.workspace

    def build(self) -> None:
        """Place the field and listen to it."""
        field = widget(
            "dataset_folder",
            server=[
                folder_lister(self._desk.context),
                self._recent_folders,
                self._forget_folder,
                self.take_upload,
            ],
            events=["choose"],
            elem_id="kg-dataset-choice",
        )
        field.choose(
            self._on_choose,
            None,
            [field, self._desk.folder],
            trigger_mode="multiple",  # a second folder may be opened before the first is there
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )

    def _on_choose(self, event: gr.EventData) -> tuple[str, str]:
        """Open a folder; the script gets its real path, or what is wrong with it."""
        data = told_by(event)
        wanted, turn = str(data.get("folder") or ""), data.get("turn")
        try:
            real = self._desk.resolve(wanted)
            remember_folder(self._workspace, real)
        except (UserError, OSError) as error:
            folder = "" if isinstance(error, UserError) else str(real)
            words = told_row(first_problem(error), "problem")
            return json.dumps({"turn": turn, "folder": folder, **words}), folder
        facts = {"turn": turn, "folder": str(real), "ending": usual_ending(real)}
        return json.dumps(facts), str(real)

    def _recent_folders(self, _: object = None) -> list[str]:
        """Return the folders that were opened last."""
        return recent_folders(self._workspace)

    def _forget_folder(self, request: object = None) -> list[str]:
        """Take a folder off that list; return what remains."""
        if isinstance(request, Mapping):
            forget_folder(self._workspace, str(request.get("folder")))
        return recent_folders(self._workspace)

    @in_words
    def take_upload(self, data: Mapping[str, Any]) -> Answer:
        """Take a piece of a file into a new folder of the workspace.

        Returns that `folder`, and the `stem` that the file got, once it is whole.
        `drop` is a random number that pictures have which were given at once; `folder` is the name
        of theirs, if they came in one.
        """
        drop = str(data.get("drop"))
        if not _DROP.fullmatch(drop):
            raise UserError("A piece of the file does not fit to the others.")
        folder = upload_folder(self._workspace, drop, str(data.get("folder") or ""))
        whole = take_piece(folder, Piece.of(data))
        return {"folder": str(folder), "stem": whole.stem} if whole else {"folder": None}


PAGE: Final = Page("pictures", "nav.pictures", _build)
