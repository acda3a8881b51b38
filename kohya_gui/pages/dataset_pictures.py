"""The tab “Pictures and captions”: what its script can ask, look at, and have written."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from kohya_gui.datasets.captions import Written
from kohya_gui.datasets.changing import draft_edit, write_draft
from kohya_gui.datasets.desks import RESOLUTIONS, TOKEN_LIMITS, OpenDataset, OpenDatasets
from kohya_gui.datasets.scan import DatasetScan, Picture
from kohya_gui.datasets.table import Table, Wish
from kohya_gui.locales.speaking import told
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.shell import widget
from kohya_gui.reasons import first_problem, told_row
from sd_scripts.dataset.pictures import shown
from sd_scripts.dataset.tokens import cut_off_at
from sd_scripts.errors import UserError
from sd_scripts.runs.undo import UndoReport

TITLE: Final = "dataset.tab_pictures"
MAX_ROWS: Final = 200
_SOURCES: Final = {
    "": "dataset.source_files",
    "caption": "dataset.source_caption",
    "tags": "dataset.source_tags",
}

Answer = dict[str, Any]
_Ask = Callable[["PictureAnswers", Mapping[str, Any]], Answer]


def build(desk: DatasetDesk) -> None:
    """Place the grid and the editor; called within their tab."""
    answers = PictureAnswers(desk)
    facts = {
        "resolutions": RESOLUTIONS,
        "token_limits": TOKEN_LIMITS,
    }
    widget(
        "dataset_pictures",
        server=[
            answers.look,
            answers.small,
            answers.picture,
            answers.tags,
            answers.save,
            answers.try_change,
            answers.change,
            answers.turn,
            answers.forget_steps,
            answers.exclude,
            answers.settings,
        ],
        elem_id="kg-dataset-pictures",
        facts=json.dumps(facts),
    )


def _answer(function: _Ask) -> Callable[[PictureAnswers, object], Answer]:
    """Give mistakes back as words: `problem` and `hint`."""

    @functools.wraps(function)
    def call(self: PictureAnswers, request: object = None) -> Answer:
        data = request if isinstance(request, Mapping) else {}
        try:
            return function(self, data)
        except (UserError, OSError) as error:
            return {**told_row(first_problem(error), "problem")}

    return call


class PictureAnswers:
    """Answers the script. Each request names the folder; it is checked anew each time."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._text = desk.context.text
        self._open = OpenDatasets(desk.context.scans, desk.context.thumbnails)

    @_answer
    def look(self, data: Mapping[str, Any]) -> Answer:
        """Return rows `offset` to `offset + limit` of the pictures that are wanted.

        While the folder is being read, only how far that is. `facts` asks for what stands above
        the grid too: notes, problems, folders, settings.
        """
        folder, dataset = self._dataset(data)
        browser = self._desk.context.browser()
        scan = self._open.look(folder, browser, again=bool(data.get("again")))
        if scan.state == "failed":
            raise UserError.of(scan.problems)
        if not isinstance(scan.found, DatasetScan):
            return {"working": True, "done": scan.done, "total": scan.total}
        table, notes = dataset.table(scan.found)
        pictures = table.chosen(Wish.from_request(data), dataset.counts)
        offset, limit = _number(data, "offset"), min(MAX_ROWS, _number(data, "limit"))
        part = pictures[offset : offset + limit]
        answer: Answer = {
            "total": len(scan.found.pictures),
            "count": len(pictures),
            "offset": offset,
            "rows": table.rows(part, dataset.counts),
            "steps": dataset.book.steps(),
        }
        if data.get("facts"):
            answer["facts"] = {
                "notes": [told(note) for note in (*scan.found.notes, *notes)],
                "folders": [shown(one) for one in scan.found.folders],
                "problems": table.problem_counts(dataset.counts),
                "endings": self._endings(scan.found),
                **asdict(table.settings),
            }
        return answer

    @_answer
    def small(self, data: Mapping[str, Any]) -> Answer:
        """Return small copies by id; for those missing in the answer the script asks again."""
        table, _ = self._table(data)
        return {"files": self._open.small_copies(self._pictures(table, data)[:MAX_ROWS])}

    @_answer
    def picture(self, data: Mapping[str, Any]) -> Answer:
        """Return all about one picture, for the editor."""
        table, dataset = self._table(data)
        picture = self._one(table, data)
        caption = table.caption(picture)
        limit = table.settings.max_tokens
        return {
            **table.rows([picture], dataset.counts)[0],
            "texts": list(caption.captions),
            "token_counts": dataset.counts.of(caption.captions),
            "cuts": [cut_off_at(one, limit) for one in caption.captions],
            "mark": caption.mark,
            "closed": told(caption.problem) if caption.target else self._text("dataset.linked"),
            "caption_file": shown(caption.path.name),
            "encoding": caption.text.encoding if caption.text else "",
            "large": self._open.large_copy(picture) if data.get("large") else None,
            "why": table.decision(picture).why,
        }

    @_answer
    def tags(self, data: Mapping[str, Any]) -> Answer:
        """Return the tags of the wanted pictures with their numbers."""
        table, dataset = self._table(data)
        tags, count = table.tags(table.chosen(Wish.from_request(data), dataset.counts))
        return {"tags": tags, "count": count}

    @_answer
    def save(self, data: Mapping[str, Any]) -> Answer:
        """Write the captions of one picture, unless they are as before or changed by others."""
        table, dataset = self._table(data)
        picture, texts = self._one(table, data), data.get("texts")
        caption = table.caption(picture)
        if caption.text is None:
            return {"problem": told(caption.problem), "hint": ""}
        wanted = caption.text.with_captions([str(one) for one in texts or []])
        mark = caption.mark if data.get("force") else str(data.get("mark"))
        if wanted is caption.text and mark == caption.mark:
            return {"written": 0, "mark": caption.mark, "steps": dataset.book.steps()}
        path, title = caption.path, self._text("dataset.step_one", name=picture.name)
        written = dataset.book.write(title, {path: wanted}, {path: mark})
        now = table.caption(picture)
        return self._told(written, dataset) | {"mark": now.mark, "theirs": list(now.captions)}

    @_answer
    def try_change(self, data: Mapping[str, Any]) -> Answer:
        """Return what a change of all wanted pictures would do; nothing is written."""
        table, dataset = self._table(data)
        return draft_edit(dataset.book, *self._wanted(table, dataset, data), _edit(data)).shown()

    @_answer
    def change(self, data: Mapping[str, Any]) -> Answer:
        """Write a change, if it is still just what was shown."""
        table, dataset = self._table(data)
        draft = draft_edit(dataset.book, *self._wanted(table, dataset, data), _edit(data))
        if draft.mark != data.get("mark"):
            return {"stale": True, **draft.shown()}
        title = self._text("dataset.step_many", what=str(data.get("title") or draft.edit))
        return self._told(write_draft(dataset.book, draft, title), dataset)

    @_answer
    def turn(self, data: Mapping[str, Any]) -> Answer:
        """Take the last step back, or do it again."""
        _, dataset = self._dataset(data)
        turned = dataset.book.undo() if data.get("back") else dataset.book.redo()
        if turned is None:
            return {"steps": dataset.book.steps(), "title": None}
        title, report = turned
        return {"title": title, "steps": dataset.book.steps(), **_report(report)}

    @_answer
    def forget_steps(self, data: Mapping[str, Any]) -> Answer:
        """Tell how much is kept for undo; throw it away once the page is `sure`."""
        _, dataset = self._dataset(data)
        count, size = dataset.book.kept()
        if data.get("sure"):
            dataset.book.forget_steps()
        return {"count": count, "bytes": size, "steps": dataset.book.steps()}

    @_answer
    def exclude(self, data: Mapping[str, Any]) -> Answer:
        """Leave pictures out of training, or take them in again."""
        table, dataset = self._table(data)
        exclude = bool(data.get("exclude"))
        title = self._text("dataset.excluded" if exclude else "dataset.included")
        dataset.exclude(self._pictures(table, data), exclude, title)
        return {"file": str(dataset.place.decisions)}

    @_answer
    def settings(self, data: Mapping[str, Any]) -> Answer:
        """Keep how the data set is looked at."""
        table, dataset = self._table(data)
        dataset.keep_settings(table.scan, data)
        return {}

    def _endings(self, scan: DatasetScan) -> list[Answer]:
        """Return where captions may stand, each with its number of pictures, in words."""
        found = []
        for ending, count in scan.endings.items():
            file, _, field = ending.rpartition(":")
            words = self._text(_SOURCES[field if file else ""], file=shown(file or ending))
            found.append({"ending": ending, "count": count, "text": words})
        return found

    def _dataset(self, data: Mapping[str, Any]) -> tuple[Path, OpenDataset]:
        folder = self._desk.resolve(str(data.get("folder") or ""))
        return folder, self._open.get(folder, self._desk.place(folder))

    def _table(self, data: Mapping[str, Any]) -> tuple[Table, OpenDataset]:
        folder, dataset = self._dataset(data)
        scan = self._open.look(folder, self._desk.context.browser())
        if not isinstance(scan.found, DatasetScan):
            raise UserError(self._text("dataset.not_read_yet"))
        return dataset.table(scan.found)[0], dataset

    def _pictures(self, table: Table, data: Mapping[str, Any]) -> list[Picture]:
        wanted = data.get("ids")
        by_id = {picture.id: picture for picture in table.scan.pictures}
        return [by_id[one] for one in wanted if one in by_id] if isinstance(wanted, list) else []

    def _one(self, table: Table, data: Mapping[str, Any]) -> Picture:
        found = next((one for one in table.scan.pictures if one.id == data.get("id")), None)
        if found is None:
            raise UserError(self._text("dataset.picture_gone"))
        return found

    def _wanted(
        self, table: Table, dataset: OpenDataset, data: Mapping[str, Any]
    ) -> tuple[list[Picture], str]:
        return table.chosen(Wish.from_request(data), dataset.counts), table.settings.ending

    def _told(self, written: Written, dataset: OpenDataset) -> Answer:
        return {
            "written": written.num_written,
            "changed": [shown(path.name) for path in written.changed],
            "failed": [[shown(path.name), told(why)] for path, why in written.failed.items()],
            "steps": dataset.book.steps(),
        }


def _edit(data: Mapping[str, Any]) -> Mapping[str, Any]:
    edit = data.get("edit")
    return edit if isinstance(edit, Mapping) else {}


def _number(data: Mapping[str, Any], key: str) -> int:
    number = data.get(key)
    return max(0, number) if isinstance(number, int) else 0


def _report(report: UndoReport) -> Answer:
    return {
        "restored": len(report.restored),
        "changed": [shown(path.name) for path in report.changed_since],
        "failed": [[shown(path.name), told(why)] for path, why in report.failed.items()],
    }
