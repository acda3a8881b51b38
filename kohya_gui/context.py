"""What all pages share: workspace, runs, queue, texts. No page keeps anything else in memory."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kohya_gui.browse import Browser
from kohya_gui.checks import Checks
from kohya_gui.forms.drafts import Drafts
from kohya_gui.forms.scans import Scans
from kohya_gui.jobs.history import History
from kohya_gui.jobs.notify import Notifier, webhook_address
from kohya_gui.jobs.queue import JobQueue
from kohya_gui.jobs.store import RunStore
from kohya_gui.jobs.try_worker import TryWorker
from kohya_gui.locales import load_texts
from kohya_gui.locales.speaking import SpokenTexts, chosen_language
from kohya_gui.run_view import RunViews
from kohya_gui.settings import Settings, load_settings
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import UserError

QUEUE_SECONDS: Final = 2.0
NOTIFY_EVERY: Final = 3
"""At each so many-th look of the queue it is also asked which runs have ended."""


@dataclass(frozen=True)
class Context:
    """Handed to every page when it is built. Everything in it may be used by many threads."""

    workspace: Workspace
    text: SpokenTexts
    store: RunStore
    queue: JobQueue
    trying: TryWorker
    drafts: Drafts
    scans: Scans
    checks: Checks
    views: RunViews
    history: History
    notifier: Notifier
    notes: tuple[str, ...] = ()
    language_flag: str | None = None
    _closed: threading.Event = field(default_factory=threading.Event)

    @property
    def thumbnails(self) -> Path:
        """Small copies of pictures; can be deleted at any time."""
        return self.workspace.path / "thumbnails"

    def settings(self) -> Settings:
        """Return the settings as they are on the disk now."""
        return load_settings(self.workspace)[0]

    def browser(self) -> Browser:
        """Return what looks into folders that may be seen: those of the settings, or the user's
        own; and always the workspace."""
        declared = [Path(root) for root in self.settings().roots]
        return Browser([*(declared or [Path.home()]), self.workspace.path])

    def language(self) -> str:
        """Return the language for those who chose none: the flag's, else the setting's."""
        return self.language_flag or self.settings().language

    def start_background(self) -> None:
        """Start what goes on without a page: the queue moves on when a job ends, and
        a model that is only kept for trying makes room for a job."""
        threading.Thread(target=self._move_queue, name="queue", daemon=True).start()

    def close(self) -> None:
        """End what goes on in the background; runs are processes of their own and stay."""
        self._closed.set()
        self.checks.close()

    def _move_queue(self) -> None:
        with contextlib.suppress(OSError):  # told in the page that lists them
            self.store.list()  # past runs are read once, before anybody opens their page
        told: str | None = None
        turn = 0
        while not self._closed.wait(QUEUE_SECONDS):
            turn += 1
            try:
                self.queue.advance()
                self.trying.make_room()
                if turn % NOTIFY_EVERY == 0:
                    self.notifier.look()
                self.queue.trouble = told = None
            except (UserError, OSError) as error:
                self.queue.trouble = error
                told = _tell_once(str(error), told)
            except Exception as error:  # noqa: BLE001 - told with its traceback; jobs still wait
                self.queue.trouble = error
                told = _tell_once("".join(traceback.format_exception(error)), told)


def _tell_once(words: str, told: str | None) -> str:
    """Tell what keeps the queue from moving on where the program was started: the page tells it
    too, so that once is enough."""
    if words != told:
        print(f"queue: {words}", file=sys.stderr, flush=True)
    return words


def make_context(workspace_path: Path | None, language: str | None) -> Context:
    """Open the workspace and make what pages share. Raises `UserError` for what cannot be used."""
    workspace = open_workspace(workspace_path)
    _, notes = load_settings(workspace)
    # A flag that is wrong is refused; a setting that is wrong must not keep the program shut.
    flag = load_texts(language).language if language else None

    def default() -> str:
        return chosen_language(None, flag or load_settings(workspace)[0].language, "")

    text = SpokenTexts(default)
    store = RunStore(workspace)
    context = Context(
        workspace=workspace,
        text=text,
        store=store,
        queue=JobQueue(workspace, store),
        trying=TryWorker(workspace, store),
        drafts=Drafts(workspace.drafts),
        scans=Scans(),
        checks=Checks(workspace),
        notifier=Notifier(store, lambda: webhook_address(load_settings(workspace)[0].webhook)),
        views=RunViews(store, workspace.path / "thumbnails", text),
        history=History(store),
        notes=notes,
        language_flag=flag,
    )
    context.drafts.forget_old()
    context.start_background()
    return context
