"""What the GUI takes while a run is watched: memory and processor, with one tab and with many.

`python -m tools.bench_idle` starts the GUI on a workspace with a run at work that tells a step
every second, opens its view in headless Chromium, and measures the GUI process and its children.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from sd_scripts.runs.events import EventWriter, StartEvent, StepEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import own_identity
from sd_scripts.runs.record import RunRecord, write_record
from tools.bench_page import FLAGS, free_port, start_gui
from tools.setup.browser import find_browser

LIMIT_MB = 250.0
LIMIT_PERCENT = 2.0
STEPS_TOLD = 2000


def make_run(workspace: Path) -> RunFolder:
    """Make a run that is at work as long as this process lives, with many steps behind it."""
    run = RunFolder.create(workspace / "runs", "watched", "seed = 1\n")
    record = RunRecord(name="watched", job="train_network", argv=("python",))
    write_record(run, record.with_process(own_identity()))
    with EventWriter(run.events) as events:
        events.emit(
            StartEvent(
                total_steps=10 * STEPS_TOLD,
                num_epochs=10,
                num_images=60,
                family="sd1",
                trainable_parameters=1000,
            )
        )
    tell_steps(run, 1, STEPS_TOLD)
    return run


def tell_steps(run: RunFolder, first: int, last: int) -> None:
    """Tell steps as a trainer does."""
    with EventWriter(run.events) as events:
        for step in range(first, last + 1):
            events.emit(StepEvent(step=step, epoch=1, loss=1 / step, lr={"unet": 1e-4}))
    with open(run.log, "ab") as log:
        log.write(f"step {last}\n".encode())


def watch(gui: psutil.Process, run: RunFolder, seconds: int, first: int) -> tuple[float, float]:
    """Let a step be told every second; return memory in MB and the share of a core in percent."""

    def used() -> float:
        processes = [gui, *gui.children(recursive=True)]
        times = [process.cpu_times() for process in processes]
        return sum(one.user + one.system for one in times)

    before, began = used(), time.monotonic()
    for number in range(seconds):
        tell_steps(run, first + number, first + number)
        time.sleep(1)
    share = 100 * (used() - before) / (time.monotonic() - began)
    processes = [gui, *gui.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 1e6, share


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a limit is missed with one tab open."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=30, help="of each measurement")
    parser.add_argument("--tabs", type=int, default=20, help="in the second measurement")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        workspace = Path(folder) / "work"
        run = make_run(workspace)
        port = free_port()
        process, _ = start_gui(workspace, port)
        found = {}
        try:
            path = find_browser(Path(sys.executable))
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            context = browser.new_context()
            told = STEPS_TOLD + 1
            for tabs in (1, options.tabs):
                while len(context.pages) < tabs:
                    page = context.new_page()
                    page.goto(f"http://127.0.0.1:{port}/runs?run={run.id}")
                    page.wait_for_selector("[data-state]", timeout=120_000)
                time.sleep(5)
                gui = psutil.Process(process.pid)
                found[tabs] = watch(gui, run, options.seconds, told)
                told += options.seconds
            browser.close()
        finally:
            process.terminate()
            process.wait(30)
    for tabs, (memory, share) in found.items():
        print(f"{tabs} tabs on a run: {memory:.0f} MB, {share:.1f} % of a core")
    print(f"limits with one tab: {LIMIT_MB:.0f} MB, {LIMIT_PERCENT:.0f} % of a core")
    memory, share = found[1]
    return int(memory > LIMIT_MB or share > LIMIT_PERCENT)


if __name__ == "__main__":
    raise SystemExit(main())
