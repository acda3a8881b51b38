"""Many tabs at once: `python -m tools.bench_tabs [--tabs N]` opens N tabs (20) in several browsers.

A run tells steps all the while. The tabs stand on every page; some watch the run, some write notes,
some type in forms, some work on the queue. At the end each has to show the newest step, every note
and every form has to be kept, and neither the server's log nor a browser's console may hold a
fault. Memory and processor time of the GUI are told.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.notes import read_note
from kohya_gui.jobs.queue import JobQueue
from kohya_gui.workspace import open_workspace
from sd_scripts.runs.folder import RunFolder
from tools.bench_idle import STEPS_TOLD, make_run, tell_steps
from tools.bench_page import FLAGS, PAGES, free_port, start_gui
from tools.setup.browser import find_browser

PATIENCE_MS: Final = 120_000
BROWSERS: Final = 4
"""Several profiles: tabs of one share their drafts' names, those of others do not."""


class Tabs:
    """The tabs, what is wrong with them, and what was written in them."""

    def __init__(self, browser: Browser, address: str, run: RunFolder) -> None:
        self._address = address
        self._run = run
        self._contexts = [browser.new_context() for _ in range(BROWSERS)]
        self.faults: list[str] = []
        self.pages: list[tuple[str, Page]] = []

    def open(self, count: int) -> None:
        """Open that many tabs over all pages; every third of them watches the run."""
        others = list(PAGES)
        for number in range(count):
            page = self._contexts[number % BROWSERS].new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
            page.on(
                "console",
                lambda one: self.faults.append(one.text) if one.type == "error" else None,
            )
            name = "run" if number % 3 == 0 else others[(number - number // 3) % len(others)]
            path = f"runs?run={self._run.id}" if name == "run" else name
            page.goto(f"{self._address}/{path}")
            usable = "document.querySelector('[data-fact=step]')" if name == "run" else PAGES[name]
            page.wait_for_function(usable)
            self.pages.append((name, page))

    def named(self, *names: str) -> list[Page]:
        """Return the tabs that stand on these pages."""
        return [page for name, page in self.pages if name in names]

    def wait_for_step(self, step: int) -> None:
        """Wait until every view of the run shows this step."""
        for page in self.named("run"):
            shown = f"document.querySelector('[data-fact=step]').innerText.startsWith('{step} ')"
            page.wait_for_function(shown)

    def type_names(self, turn: int) -> dict[Page, str]:
        """Give each form a name of its own; return them."""
        typed = {}
        for number, page in enumerate(self.named("lora", "dreambooth", "fine-tune")):
            typed[page] = f"tab{number}turn{turn}"
            page.locator("#opt-output_name input, #opt-output_name textarea").fill(typed[page])
        return typed

    def lost_names(self, typed: dict[Page, str]) -> list[str]:
        """Load the forms anew; return the names that are not there any more."""
        lost = []
        for page, name in typed.items():
            page.reload()
            page.wait_for_function(PAGES["lora"])
            found = page.locator("#opt-output_name input, #opt-output_name textarea").input_value()
            if found != name:
                lost.append(f"{name} became {found!r}")
        return lost


def write_notes(tabs: Tabs, run: RunFolder) -> list[str]:
    """Let two tabs write the same note; return what is wrong with how that ends."""
    first, second = tabs.named("run")[:2]
    for page, words in ((first, "of the first"), (second, "of the second")):
        page.locator(".kg-note-text").fill(words)
    first.locator("[data-note=save]").click()
    first.locator("[data-note=save]:disabled").wait_for()
    _wait_for(lambda: read_note(run).note == "of the first")
    second.locator("[data-note=save]").click()
    second.locator("[data-note=changed]", has_text="of the first").wait_for()
    kept = read_note(run).note
    return [] if kept == "of the first" else [f"the note of the first became {kept!r}"]


def work_on_queue(tabs: Tabs, queue: JobQueue) -> list[str]:
    """Let one tab take a job off the queue and another one move one; return what went wrong."""
    names = ("first", "second", "third")
    queue.pause(True)
    queue.add([JobRequest(job_name="train_network", config_toml="", name=name) for name in names])
    one, other = (tabs.named("runs", "") * 2)[:2]
    for page in (one, other):
        page.locator("[data-queue] li").nth(2).wait_for()
    one.get_by_role("button", name="Put first one place later").click()
    other.get_by_role("button", name="Remove third from the queue").click()
    other.locator("dialog .kg-danger").click()
    left = ["second", "first"]
    happened = _wait_for(lambda: [job.request.name for job in queue.items()] == left)
    return [] if happened else [f"the queue holds {[job.request.name for job in queue.items()]}"]


def _wait_for(there: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not there():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


class Telling(threading.Thread):
    """A run that tells a step every second until it is ended."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(daemon=True)
        self._run = run
        self._over = threading.Event()
        self.step = STEPS_TOLD

    def run(self) -> None:
        """Tell steps."""
        while not self._over.wait(1):
            self.step += 1
            tell_steps(self._run, self.step, self.step)

    def end(self) -> int:
        """End it; return the last step."""
        self._over.set()
        self.join()
        return self.step


def try_all(tabs: Tabs, run: RunFolder, queue: JobQueue) -> list[str]:
    """Work in the tabs while the run goes on; return what was lost."""
    telling = Telling(run)
    telling.start()
    lost = work_on_queue(tabs, queue) + write_notes(tabs, run)
    for turn in range(3):
        typed = tabs.type_names(turn)
    time.sleep(5)
    lost += tabs.lost_names(typed)
    tabs.wait_for_step(telling.end())
    return lost


def used(gui: psutil.Process) -> float:
    """Return the processor seconds of a process and its children."""
    times = [one.cpu_times() for one in (gui, *gui.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def main(argv: Sequence[str] | None = None) -> int:
    """Open the tabs, work in them, print what was found; 1 when anything was lost or at fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--tabs", type=int, default=20, help="at least 20, so that all pages are open"
    )
    count = max(20, parser.parse_args(argv).tabs)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        workspace = open_workspace(Path(folder) / "work")
        run, port, log = make_run(workspace.path), free_port(), Path(folder) / "gui.log"
        with open(log, "wb") as errors:
            process, _ = start_gui(workspace.path, port, errors)
        try:
            path = find_browser(Path(sys.executable))
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            tabs = Tabs(browser, f"http://127.0.0.1:{port}", run)
            gui = psutil.Process(process.pid)
            tabs.open(count)
            before, began = used(gui), time.monotonic()
            lost = try_all(tabs, run, JobQueue(workspace))
            share = 100 * (used(gui) - before) / (time.monotonic() - began)
            memory = gui.memory_info().rss / 1e6
            browser.close()
        finally:
            process.terminate()
            process.wait(30)
        told = log.read_text("utf-8", "replace").strip()
    print(f"{count} tabs at work: {memory:.0f} MB, {share:.1f} % of a core")
    faults = [*lost, *tabs.faults, *([told] if told else [])]
    print("\n".join(faults) if faults else "nothing lost, no fault in log or consoles")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
