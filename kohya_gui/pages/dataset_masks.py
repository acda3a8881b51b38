"""The tab “Masks”: painted in the browser, shown over the picture, or found by a model as a job."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kohya_gui.browse import Browser
from kohya_gui.forms.preparation import whole_path
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.folders import browse_roots, folder_lister
from kohya_gui.pages.shell import widget
from kohya_gui.thumbnails import Thumbnails
from sd_scripts.captioning.pictures import find_pictures
from sd_scripts.dataset.mask_files import find_mask, mask_bytes, mask_path
from sd_scripts.dataset.pictures import PictureProblem, open_alpha, open_mask, probe
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import MakeMasksJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values

TITLE: Final = "dataset.tab_masks"
SIDE: Final = 1024
"""Longest side of the picture that is painted on, in pixels."""
MAX_BYTES: Final = 8 * 1024 * 1024
ROWS: Final = 60

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
        """Return a page of the folder's pictures, and where and whether each has a mask."""
        try:
            folder, masks = self._places(request)
        except UserError as error:
            return _problem(error)
        found = find_pictures(folder, ".png", recursive=True)
        start = _number(request, "page") * ROWS
        rows = []
        for picture in found.pictures[start : start + ROWS]:
            small = self._small.make(picture.path)
            rows.append(
                {
                    "name": picture.path.relative_to(folder).as_posix(),
                    "small": str(small) if small else None,
                    "has_mask": find_mask(picture.path, folder, masks) is not None,
                }
            )
        total = len(found.pictures)
        return {"rows": rows, "total": total, "pages": -(-total // ROWS), "masks": str(masks)}

    def open_mask(self, request: object = None) -> Answer:
        """Return a picture to paint on, with its mask (or its transparency) as a PNG."""
        try:
            folder, masks = self._places(request)
            picture = self._picture(folder, request)
            info = probe(picture)
            large = self._large.make(picture)
            mask = find_mask(picture, folder, masks)
            source = "file" if mask else "alpha" if info.has_alpha else "none"
            shown = open_mask(mask) if mask else open_alpha(picture)
        except UserError as error:
            return _problem(error)
        except PictureProblem as problem:
            return {"problem": f"{problem}: {problem.hint}"}
        shown.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        shown.save(file, "PNG")
        return {
            "file": str(large) if large else None,
            "size": list(info.size),
            "source": source,
            "mask": base64.b64encode(file.getvalue()).decode("ascii"),
            "path": str(mask or mask_path(picture, folder, masks)),
        }

    def save_mask(self, request: object = None) -> Answer:
        """Write a painted mask, at the size of its picture, into the folder of masks."""
        from PIL import Image

        try:
            folder, masks = self._places(request)
            picture = self._picture(folder, request)
            data = base64.b64decode(_given(request, "mask"), validate=True)
            if len(data) > MAX_BYTES:
                raise UserError(self._context.text("dataset.mask_too_large"))
            with Image.open(io.BytesIO(data), formats=("PNG",)) as painted:
                size = probe(picture).size
                written = mask_bytes(painted.convert("L"), size)
            path = mask_path(picture, folder, masks)
            old = find_mask(picture, folder, masks)
            if old is not None and old != path:
                raise UserError(self._context.text("dataset.mask_other", name=old.name))
            if old is not None:
                self._keep(folder, old)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, written)
        except UserError as error:
            return _problem(error)
        except PictureProblem as problem:
            return {"problem": f"{problem}: {problem.hint}"}
        except (OSError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
            return {"problem": self._context.text("dataset.mask_not_saved", why=error)}
        return {"path": str(path)}

    def drop_mask(self, request: object = None) -> Answer:
        """Take a mask away; it is kept in the workspace, should it be wanted back."""
        try:
            folder, masks = self._places(request)
            mask = find_mask(self._picture(folder, request), folder, masks)
            if mask is None:
                return {}
            kept = self._keep(folder, mask)
            mask.unlink()
        except UserError as error:
            return _problem(error)
        except OSError as error:
            return {"problem": self._context.text("dataset.mask_not_saved", why=error)}
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

    def _keep(self, folder: Path, mask: Path) -> Path:
        """Keep a copy of what a mask is now in the workspace. Raises `OSError`."""
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
        browser = Browser(browse_roots(self._context))
        masks = browser.resolve(whole_path(wanted, self._context.workspace))
        if masks == folder or folder in masks.parents:
            raise UserError(
                self._context.text("dataset.mask_inside"),
                hint=self._context.text("dataset.mask_inside_hint"),
            )
        return folder, masks

    def _picture(self, folder: Path, request: object) -> Path:
        """Return a picture of the folder by its name; raises `UserError` for anything else."""
        name = _given(request, "name")
        path = folder / name
        if not name or not path.resolve().is_relative_to(folder) or not path.is_file():
            raise UserError(self._context.text("dataset.picture_gone"))
        return path


def _problem(error: UserError) -> Answer:
    problem = error.problems[0]
    return {"problem": f"{problem.message} {problem.hint or ''}".strip()}


def _given(request: object, name: str) -> str:
    return str(request.get(name) or "") if isinstance(request, Mapping) else ""


def _number(request: object, name: str) -> int:
    value = request.get(name) if isinstance(request, Mapping) else 0
    return value if isinstance(value, int) and value >= 0 else 0
