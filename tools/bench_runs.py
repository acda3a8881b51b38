"""How long the page of runs takes with a long history.

`python -m tools.bench_runs` makes a workspace with 1,000 runs of 2,000 steps each, reads it as the
GUI does (cold, warm, searched by an option's value), starts the GUI on it and opens the page of
runs in headless Chromium: it counts as open when its rows stand there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from kohya_gui.jobs.history import History, HistoryWish
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.events import EndEvent, StartEvent, StepEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import FORMAT, RunRecord, write_record
from tools.bench_page import FLAGS, free_port, start_gui
from tools.setup.browser import find_browser

LIMIT_SECONDS = 1.0
NEEDED = {"pretrained_model_name_or_path": "/models/m.safetensors", "train_data_dir": "/pictures"}


def make_runs(workspace: Workspace, count: int, num_steps: int) -> None:
    """Write runs as a trainer leaves them."""
    start = StartEvent(
        total_steps=num_steps,
        num_epochs=10,
        num_images=40,
        family="sd1",
        trainable_parameters=1_000_000,
    )
    steps = [
        StepEvent(step=n, epoch=n // 200, loss=1 / n, lr={"unet": 1e-4})
        for n in range(1, num_steps + 1)
    ]
    events = "".join(
        f"{event.model_dump_json()}\n" for event in (start, *steps, EndEvent(status="finished"))
    )
    for number in range(count):
        values = {**NEEDED, "network_dim": 1 + number % 64, "seed": number}
        job = job_from_values(TrainNetworkJob, values)
        run = RunFolder.create(workspace.runs, f"run {number}", job_to_toml(job))
        record = RunRecord(format=FORMAT, name=f"run {number}", job="train_network")
        dead = {"pid": 4_000_000, "create_time": 1.0}
        write_record(run, record.model_copy(update=dead))
        run.events.write_text(events, "utf-8")


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def seconds_until_open(browser: Browser, address: str) -> float:
    """Open the page of runs in a new profile; return the seconds until its rows are there."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_function("document.querySelectorAll('tr[data-run]').length >= 50", polling=10)
    seconds = float(page.evaluate("performance.now()")) / 1000
    context.close()
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the page takes longer than its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=1000, help="how many runs there are")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each run")
    parser.add_argument("--rounds", type=int, default=5, help="openings of the page")
    flags = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        workspace = open_workspace(Path(folder) / "work")
        make_runs(workspace, flags.runs, flags.steps)
        store = RunStore(workspace)
        history = History(store)
        print(f"listed cold: {seconds_of(store.list):.2f} s")
        print(f"listed warm: {seconds_of(store.list):.3f} s")
        wish = HistoryWish("network_dim=16")
        print(f"searched by a value, cold: {seconds_of(lambda: history.look(wish)):.2f} s")
        print(f"searched by a value, warm: {seconds_of(lambda: history.look(wish)):.3f} s")
        port = free_port()
        process, _ = start_gui(workspace.path, port)
        try:
            path = find_browser(Path(sys.executable))
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            address = f"http://127.0.0.1:{port}/runs"
            found = [seconds_until_open(browser, address) for _ in range(flags.rounds)]
            browser.close()
        finally:
            process.terminate()
            process.wait(30)
    middle = statistics.median(found)
    print(
        f"page of runs open: {middle:.2f} s, from {min(found):.2f} to {max(found):.2f} s"
        f" (limit {LIMIT_SECONDS} s)"
    )
    return int(middle > LIMIT_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
