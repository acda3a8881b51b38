"""Data sets that are open in pages: scans in the background, captions, settings, decisions."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from kohya_gui.browse import Browser
from kohya_gui.datasets.captions import CaptionBook
from kohya_gui.datasets.history import EditHistory
from kohya_gui.datasets.places import DatasetPlace
from kohya_gui.datasets.scan import DatasetScan, Picture, scan_dataset
from kohya_gui.datasets.table import Table, TokenCounts, ViewSettings
from kohya_gui.forms.scans import Scan, Scans
from kohya_gui.reasons import told_line
from kohya_gui.thumbnails import Thumbnails
from sd_scripts.dataset.decision_files import change_decisions, read_decisions
from sd_scripts.dataset.decisions import Change, Decisions
from sd_scripts.dataset.doctor.findings import Report, report_from_json
from sd_scripts.dataset.index import PictureIndex
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic

NUM_KEPT: Final = 8
RESOLUTIONS: Final = (256, 512, 640, 768, 1024, 1280, 1536)
TOKEN_LIMITS: Final = (75, 150, 225)
LARGE_SIDE: Final = 1024


class OpenDataset:
    """One data set that pages look at. Several pages share it; nothing in it is theirs."""

    def __init__(self, folder: Path, place: DatasetPlace) -> None:
        self.folder = folder
        self.place = place
        self.book = CaptionBook(folder, EditHistory(place.history))
        self.counts = TokenCounts()

    def settings(self, scan: DatasetScan) -> ViewSettings:
        """Return how it is looked at: as was chosen, else what its files suggest."""
        usual = ViewSettings(scan.usual_ending, _usual_resolution(scan))
        try:
            data = json.loads(self.place.view.read_text("utf-8"))
        except (OSError, ValueError):
            return usual  # never chosen, or not readable: chosen again in a moment
        return _settings(usual, data, scan) if isinstance(data, dict) else usual

    def keep_settings(self, scan: DatasetScan, wanted: Mapping[str, Any]) -> None:
        """Keep how it shall be looked at. Raises `OSError`."""
        chosen = _settings(self.settings(scan), wanted, scan)
        self.place.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self.place.view, json.dumps(asdict(chosen)) + "\n", durable=False)

    def table(self, scan: DatasetScan) -> tuple[Table, list[str]]:
        """Return its pictures as they are now, and what could not be read along the way."""
        notes: list[str] = []
        decisions = self._decisions(notes)
        table = Table(scan, self.book, self.settings(scan), decisions, self._report())
        return table, notes

    def exclude(self, pictures: Sequence[Picture], exclude: bool, title: str) -> None:
        """Leave pictures out of training, or take them in again. Raises `UserError`, `OSError`."""
        names = [one.path.relative_to(self.folder).as_posix() for one in pictures]

        def change(before: Decisions) -> Decisions:
            now = {name: before.of(self.folder / name) for name in names}
            why = title if exclude else ""
            changed = {k: replace(v, exclude=exclude, why=why) for k, v in now.items()}
            return before.changed(Change(title, changed))

        change_decisions(self.place.decisions, self.folder, change)

    def _decisions(self, notes: list[str]) -> Decisions | None:
        if not self.place.decisions.exists():
            return None
        try:
            return read_decisions(self.place.decisions)
        except UserError as error:
            notes += [told_line(problem) for problem in error.problems]
            return None

    def _report(self) -> Report | None:
        try:
            return report_from_json(self.place.doctor.read_text("ascii"))
        except (OSError, ValueError):
            return None  # nobody asked the doctor, or an older one: the page offers it


class OpenDatasets:
    """The data sets that were looked at last."""

    def __init__(self, scans: Scans, thumbnails: Path) -> None:
        self._scans = scans
        self._small = Thumbnails(thumbnails)
        self._large = Thumbnails(thumbnails, LARGE_SIDE)
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, OpenDataset] = OrderedDict()

    def get(self, folder: Path, place: DatasetPlace) -> OpenDataset:
        """Return the data set in a folder (a real path)."""
        with self._lock:
            found = self._open.setdefault(folder, OpenDataset(folder, place))
            self._open.move_to_end(folder)
            while len(self._open) > NUM_KEPT:
                self._open.popitem(last=False)
            return found

    def look(self, folder: Path, browser: Browser, *, again: bool = False) -> Scan:
        """Return how the look at a folder's pictures stands; begin it if needed."""
        key = ("dataset", folder)
        if again:
            self._scans.forget(key)

        def work(tell: Any) -> DatasetScan:
            def may_read(path: Path) -> bool:
                return browser.allowed(path) is not None

            return scan_dataset(folder, PictureIndex(), may_read, tell)

        return self._scans.look(key, work)

    def small_copies(self, pictures: Sequence[Picture]) -> dict[str, str | None]:
        """Return small copies by id, None where there can be none; some may be left for later."""
        made = self._small.make_some(one.path for one in pictures if one.size is not None)
        small = {
            one.id: made.get(one.path) for one in pictures if one.size is None or one.path in made
        }
        return {key: str(path) if path else None for key, path in small.items()}

    def large_copy(self, picture: Picture) -> str | None:
        """Return a copy to look at closely; None for what can't be read."""
        if picture.size is None:
            return None
        large = self._large.make(picture.path)
        return str(large) if large else None


def _usual_resolution(scan: DatasetScan) -> int:
    """The size of training that most pictures are large enough for."""
    sides = sorted((p.size[0] * p.size[1]) ** 0.5 for p in scan.pictures if p.size)
    middle = sides[len(sides) // 2] if sides else 0
    return 1024 if middle >= 900 else 512


def _settings(base: ViewSettings, data: Mapping[str, Any], scan: DatasetScan) -> ViewSettings:
    """Take over what is fit among wishes."""
    ending, resolution = data.get("ending"), data.get("resolution")
    max_tokens = data.get("max_tokens")
    return ViewSettings(
        ending if isinstance(ending, str) and ending in scan.endings else base.ending,
        resolution
        if isinstance(resolution, int) and resolution in RESOLUTIONS
        else base.resolution,
        max_tokens
        if isinstance(max_tokens, int) and max_tokens in TOKEN_LIMITS
        else base.max_tokens,
    )
