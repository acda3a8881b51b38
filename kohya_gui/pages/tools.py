"""The tools page: what this machine has, what lies on its disk, and which versions are at work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import kohya_gui
from kohya_gui.context import Context
from kohya_gui.jobs.storage import clear, places
from kohya_gui.pages.shell import Page, widget
from kohya_gui.pages.tools_jobs import build_jobs
from kohya_gui.reasons import first_problem, told_line
from sd_scripts.errors import UserError

DOCTOR_SECONDS: Final = 300
_ROOT: Final = Path(kohya_gui.__file__).resolve().parent.parent
_FORMS: Final = (
    ("lora", "nav.lora"),
    ("dreambooth", "nav.dreambooth"),
    ("fine-tune", "nav.fine_tune"),
    ("textual-inversion", "nav.textual_inversion"),
)
"""The forms that open settings of other programs."""
_VERSIONED: Final = (
    "kohya-gui",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "lycoris-lora",
    "bitsandbytes",
    "onnxruntime",
    "gradio",
)


def _build(context: Context) -> None:
    actions = ToolActions(context)
    server = [actions.examine, actions.storage, actions.clear_place]
    forms = [{"page": path, "title": context.text(key)} for path, key in _FORMS]
    facts = json.dumps({"versions": versions(), "forms": forms}, ensure_ascii=False)
    widget("tools_title")
    widget("tools", server=server, elem_id="kg-tools", facts=facts)
    build_jobs(context)


class ToolActions:
    """What the page's script can ask the server."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def examine(self, _: object = None) -> dict[str, Any]:
        """Return the doctor's report. It is a program of its own: PyTorch stays out of the GUI."""
        command = [sys.executable, "-m", "tools.setup", "doctor", "--json"]
        try:
            done = subprocess.run(
                command,
                cwd=_ROOT,
                capture_output=True,
                text=True,
                encoding="utf-8",
                stdin=subprocess.DEVNULL,
                timeout=DOCTOR_SECONDS,
                check=False,
            )
            report: dict[str, Any] = json.loads(done.stdout)
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            return {"problem": f"{type(error).__name__}: {error}"}
        return report

    def storage(self, _: object = None) -> dict[str, Any]:
        """Return the folders of the program with their sizes."""
        rows = []
        for place in places(self._context.workspace):
            size = place.size()
            row = {"name": place.name, "path": str(place.path), "clearable": place.clearable}
            rows.append({**row, "bytes": size.num_bytes, "files": size.num_files})
        return {"places": rows}

    def clear_place(self, request: object = None) -> dict[str, Any]:
        """Clear one of them."""
        name = str(request.get("name")) if isinstance(request, Mapping) else ""
        try:
            size = clear(self._context.workspace, self._context.store, name)
        except UserError as error:
            return {"problem": told_line(first_problem(error))}
        return {"bytes": size.num_bytes}


def versions() -> list[dict[str, str]]:
    """Return the versions of what matters, as far as it is installed."""
    found = []
    for name in _VERSIONED:
        try:
            found.append({"name": name, "version": metadata.version(name)})
        except metadata.PackageNotFoundError:
            continue  # an extra, or the program itself when it is run from a checkout
    return found


PAGE: Final = Page("tools", "nav.tools", _build)
