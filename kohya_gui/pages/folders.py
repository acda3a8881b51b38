"""The server's side of the file chooser: a listing under the declared folders, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kohya_gui.browse import Browser, Entry, Listing
from kohya_gui.context import Context
from kohya_gui.forms.preparation import whole_path
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import first_problem, told_row
from sd_scripts.errors import UserError


def folder_lister(context: Context) -> Callable[[object], dict[str, Any]]:
    """Return the function that the chooser's script calls with `{"folder": …, "wants": …}`."""

    def list_folder(request: object = None) -> dict[str, Any]:
        data = request if isinstance(request, Mapping) else {}
        wanted = str(data.get("folder") or "").strip()
        browser = context.browser()
        places = [{"name": _short(root, context), "folder": str(root)} for root in browser.roots]
        if not wanted:
            return {**_listing(_start(browser)), "places": places}
        try:
            listing, chosen = _open(browser, Path(wanted), context)
        except (UserError, OSError) as error:  # the latter: a name longer than the disk knows
            words = told_row(first_problem(error))
            return {**_listing(_start(browser)), "places": places, "problem": words}
        return {**_listing(listing), "places": places, "chosen": chosen}

    return list_folder


def _start(browser: Browser) -> Listing:
    """Return where looking begins: the only root, or the list of roots."""
    if len(browser.roots) == 1:
        return browser.list(browser.roots[0])
    top = browser.top()
    return top if len(browser.roots) != 2 else browser.list(browser.roots[0])


def _open(browser: Browser, path: Path, context: Context) -> tuple[Listing, str | None]:
    """List a folder; of a file its folder, with the file chosen; of nothing, the nearest folder."""
    place = Path(whole_path(str(path), context.workspace))
    if place.is_file():
        return browser.list(place.parent), str(place)
    if not place.exists() and browser.allowed(place):
        for parent in place.parents:
            if parent.is_dir() and browser.allowed(parent):
                return browser.list(parent), None
    return browser.list(place), None


def _listing(listing: Listing) -> dict[str, Any]:
    pictures = sum(entry.kind == "picture" for entry in listing.entries)
    models = sum(entry.kind == "model" for entry in listing.entries)
    counted = [
        f"{count} {name}{'' if count == 1 else 's'}"
        for count, name in ((pictures, "picture"), (models, "model file"))
        if count
    ]
    return {
        "folder": listing.path,
        "parent": listing.parent,
        "entries": [_entry(entry) for entry in listing.entries],
        "note": " · ".join(told(part) for part in (*counted, listing.note) if part),
        "problem": None,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "full": entry.path,
        "kind": entry.kind,
        "bytes": entry.size,
        "modified": entry.modified,
        "note": told(entry.problem or entry.hint),
        "closed": entry.problem is not None,
    }


def _short(root: Path, context: Context) -> str:
    if root == context.workspace.path:
        return context.text("folders.workspace")
    return "~" if root == Path.home() else (root.name or str(root))
