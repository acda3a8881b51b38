"""The tab “Masks”: painted in the browser, shown over the picture, or found by a model as a job."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms.preparation import whole_path
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.shell import widget
from kohya_gui.reasons import reason, told_line
from kohya_gui.thumbnails import DECODING, Thumbnails
from sd_scripts.captioning.pictures import find_pictures
from sd_scripts.dataset.mask_files import MaskPlaces, mask_bytes
from sd_scripts.dataset.pictures import PictureProblem, open_alpha, open_mask, probe
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import MakeMasksJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values

TITLE: Final = "dataset.tab_masks"
SIDE: Final = 1024
"""Longest side of the picture that is painted on, in pixels."""
MAX_BYTES: Final = 8 * 1024 * 1024
"""Letters of a painted mask as it comes from the page (base64)."""
ROWS: Final = 60
_MASK_MODES: Final = frozenset({"1", "L"})
"""Pillow's names: what has colours may be a picture, and is never written over."""

Answer = dict[str, Any]


def build(desk: DatasetDesk) -> None:
    """Place the painter; called within its tab."""
    masks = DatasetMasks(desk)
    widget(
        "dataset_masks",
        server=[
            folder_lister(desk.context),
            masks.list_masks,
            masks.open_mask,
            masks.save_mask,
            masks.drop_mask,
            masks.find_subjects,
        ],
        elem_id="kg-dataset-masks",
    )


class DatasetMasks:
    """What the script asks about the masks of the open folder. Pictures are only ever read."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._context = desk.context
        self._small = Thumbnails(self._context.thumbnails)
        self._large = Thumbnails(self._context.thumbnails, SIDE)

    def list_masks(self, request: object = None) -> Answer:
        """Return a page of the folder's pictures, and where and whether each has a mask.

        While there is `more`, small copies are still to be made: the script asks again.
        """
        try:
            folder, masks = self._places(request)
        except UserError as error:
            return _problem(error)
        places = MaskPlaces(folder, masks)
        shown, shared = self._pictures(folder, places)
        pictures = [path for path in shown if path not in shared]
        start = _number(request, "page") * ROWS
        part = pictures[start : start + ROWS]
        small = self._small.make_some(part)
        rows = [
            {
                "name": picture.relative_to(folder).as_posix(),
                "small": str(small[picture]) if small.get(picture) else None,
                "has_mask": places.find(picture) is not None,
            }
            for picture in part
        ]
        total = len(pictures)
        return {
            "rows": rows,
            "total": total,
            "pages": -(-total // ROWS),
            "masks": str(masks),
            "more": len(small) < len(part),
        }

    def open_mask(self, request: object = None) -> Answer:
        """Return a picture to paint on, with its mask (or its transparency) as a PNG."""
        try:
            picture, mask, path = self._painted(request)
            info = probe(picture)
            large = self._large.make(picture)
            source = "file" if mask else "alpha" if info.has_alpha else "none"
            with DECODING:
                shown = open_mask(mask) if mask else open_alpha(picture)
        except (UserError, PictureProblem) as error:
            return _problem(error)
        shown.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        shown.save(file, "PNG")
        return {
            "file": str(large) if large else None,
            "size": list(info.size),
            "source": source,
            "mask": base64.b64encode(file.getvalue()).decode("ascii"),
            "path": str(mask or path),
        }

    def save_mask(self, request: object = None) -> Answer:
        """Write a painted mask, at the size of its picture, into the folder of masks."""
        from PIL import Image

        try:
            picture, old, path = self._painted(request)
            text = _given(request, "mask")
            if len(text) > MAX_BYTES:
                raise UserError(self._context.text("dataset.mask_too_large"))
            data = base64.b64decode(text, validate=True)
            with DECODING, Image.open(io.BytesIO(data), formats=("PNG",)) as painted:
                if max(painted.size) > SIDE:
                    raise UserError(self._context.text("dataset.mask_too_large"))
                written = mask_bytes(painted.convert("L"), probe(picture).size)
            if old is not None and old != path:
                raise UserError(self._context.text("dataset.mask_other", name=old.name))
            if old is not None:
                self._keep(request, old)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, written)
        except (UserError, PictureProblem) as error:
            return _problem(error)
        except (OSError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
            return {"problem": self._context.text("dataset.mask_not_saved", why=reason(error))}
        return {"path": str(path)}

    def drop_mask(self, request: object = None) -> Answer:
        """Take a mask away; it is kept in the workspace, should it be wanted back."""
        try:
            _, mask, _ = self._painted(request)
            if mask is None:
                return {}
            kept = self._keep(request, mask)
            mask.unlink()
        except (UserError, PictureProblem) as error:
            return _problem(error)
        except OSError as error:
            return {"problem": self._context.text("dataset.mask_not_saved", why=reason(error))}
        return {"kept": str(kept)}

    def find_subjects(self, request: object = None) -> Answer:
        """Start the job that makes masks with a model of the user's."""
        try:
            folder, masks = self._places(request)
            model = whole_path(_given(request, "model"), self._context.workspace)
            values = {
                "train_data_dir": str(folder),
                "recursive": True,
                "mask_model": model,
                "mask_dir": str(masks),
            }
            job = job_from_values(MakeMasksJob, values)
            if not Path(model).is_file():
                raise UserError(self._context.text("dataset.mask_model_missing", model=model))
            wanted = JobRequest(
                job_name=MakeMasksJob.name,
                config_toml=job_to_toml(job),
                name=f"masks {folder.name}",
            )
            answer = self._context.queue.submit(wanted, self._context.settings().when_busy)
        except UserError as error:
            return _problem(error)
        match answer:
            case Submitted(run=run, text=text):
                return {"run": run.id, "text": text}
            case Queued(text=text) | Refused(text=text):
                return {"text": text}
        raise AssertionError("submit knows three answers")

    def _keep(self, request: object, mask: Path) -> Path:
        """Keep a copy of what a mask is now in the workspace.

        Raises `OSError`, `PictureProblem`, and `UserError` for a file that is no mask.
        """
        folder, _ = self._places(request)
        if probe(mask).mode not in _MASK_MODES:
            raise UserError(
                self._context.text("dataset.mask_is_picture", name=mask.name),
                hint=self._context.text("dataset.mask_is_picture_hint"),
            )
        data = mask.read_bytes()
        mark = hashlib.blake2b(data, digest_size=5).hexdigest()
        kept = self._desk.place(folder).path / "masks" / f"{mask.stem}-{mark}{mask.suffix}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        if not kept.exists():
            write_atomic(kept, data)
        return kept

    def _places(self, request: object) -> tuple[Path, Path]:
        """Return the open folder and that of its masks, both within what may be looked into.

        Raises `UserError`.
        """
        folder = self._desk.resolve(_given(request, "folder"))
        wanted = _given(request, "masks") or str(folder.with_name(f"{folder.name}_masks"))
        browser = self._context.browser()
        masks = browser.resolve(whole_path(wanted, self._context.workspace))
        if masks == folder or folder in masks.parents:
            raise self._among_pictures()
        return folder, masks

    def _pictures(self, folder: Path, places: MaskPlaces) -> tuple[list[Path], dict[Path, Path]]:
        """Return the pictures that may be read, and those among them whose mask is another's."""
        browser = self._context.browser()
        found = (one.path for one in find_pictures(folder, ".png", recursive=True).pictures)
        pictures = [one for one in found if not one.is_symlink() or browser.allowed(one)]
        return pictures, places.shared(pictures)

    def _painted(self, request: object) -> tuple[Path, Path | None, Path]:
        """Return a picture of the folder by its name, its mask, and where that is written.

        Raises `UserError` for any other name, and for masks that are elsewhere or a picture's.
        """
        folder, masks = self._places(request)
        places = MaskPlaces(folder, masks)
        pictures, shared = self._pictures(folder, places)
        name = _given(request, "name")
        named = (one for one in pictures if one.relative_to(folder).as_posix() == name)
        picture = next(named, None)
        if picture is None or not picture.is_file():
            raise UserError(self._context.text("dataset.picture_gone"))
        if picture in shared:
            raise UserError(
                self._context.text("dataset.mask_shared", name=shared[picture].name),
                hint=self._context.text("dataset.mask_shared_hint"),
            )
        mask, path = places.find(picture), places.path(picture)
        browser = self._context.browser()
        for place in (path, *([mask] if mask else [])):
            if browser.resolve(place).is_relative_to(folder):
                raise self._among_pictures()
        return picture, mask, path

    def _among_pictures(self) -> UserError:
        return UserError(
            self._context.text("dataset.mask_inside"),
            hint=self._context.text("dataset.mask_inside_hint"),
        )


def _problem(error: UserError | PictureProblem) -> Answer:
    if isinstance(error, UserError):
        return {"problem": told_line(error.problems[0])}
    return {"problem": told_line(Problem(str(error), None, error.hint))}


def _given(request: object, name: str) -> str:
    return str(request.get(name) or "") if isinstance(request, Mapping) else ""


def _number(request: object, name: str) -> int:
    value = request.get(name) if isinstance(request, Mapping) else 0
    return value if isinstance(value, int) and value >= 0 else 0
