"""How long pages take: from the command to a served page, and in a browser until they can be used.

`python -m tools.bench_page` starts the GUI on an empty workspace and opens every page in headless
Chromium, with an empty cache and again with a warm one. A page counts as usable when what the
server fills it with stands there: a form with its first report, the list of runs, the folders.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tools.setup.browser import find_browser

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
START_LIMIT_SECONDS = 5.0
PAGE_LIMIT_SECONDS = 1.5
_FORM: Final = "document.documentElement?.dataset.kgReady === 'form'"
PAGES: Final = {
    "": "document.querySelector('[data-widget=overview]')?.childElementCount > 0",
    "teach": "document.documentElement?.dataset.kgReady?.startsWith('teach')",
    "pictures": "document.documentElement?.dataset.kgReady === 'dataset'",
    "captioning": _FORM,
    "captioning-sentences": _FORM,
    "lora": _FORM,
    "dreambooth": _FORM,
    "fine-tune": _FORM,
    "textual-inversion": _FORM,
    "try": "document.documentElement?.dataset.kgReady === 'try'",
    "runs": "document.documentElement?.dataset.kgReady === 'runs'",
    "tools": "document.querySelector('tr[data-place]')",
    "settings": "document.querySelector('#setting-tier input:checked')",
}
"""Addresses of pages, and what is true of each when it can be used."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_gui(
    workspace: Path, port: int, errors: IO[bytes] | None = None
) -> tuple[subprocess.Popen[bytes], float]:
    """Start the GUI; return its process and the seconds until the LoRA page was answered.

    What it tells on its error output goes to `errors`.
    """
    command = [sys.executable, "-m", "kohya_gui", "--headless", "--server_port", str(port)]
    command += ["--workspace", str(workspace)]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
    opener = build_opener(ProxyHandler({}))
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}/lora", timeout=5) as answer:
                answer.read()
                return process, time.perf_counter() - began
        except (URLError, OSError):
            if process.poll() is not None:
                raise SystemExit("the GUI ended before it served a page") from None
            time.sleep(0.02)


def seconds_until_usable(context: BrowserContext, address: str, usable: str) -> tuple[float, float]:
    """Open a page in a new tab; return seconds from navigation and from the load event."""
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_function(usable, polling=10)
    now, loaded = page.evaluate(
        "[performance.now(), performance.getEntriesByType('navigation')[0].loadEventEnd]"
    )
    page.close()
    # What is usable before the load event is over has waited for nothing after it.
    return now / 1000, max(0.0, now - loaded) / 1000 if loaded else 0.0


def measure_page(browser: Browser, address: str, usable: str, rounds: int) -> dict[str, float]:
    """Return the middle seconds of one page's openings, by kind."""
    found: dict[str, list[float]] = {"cold": [], "warm": [], "cold after load": []}
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        cold, after_load = seconds_until_usable(context, address, usable)
        warm, _ = seconds_until_usable(context, address, usable)
        found["cold"].append(cold)
        found["warm"].append(warm)
        found["cold after load"].append(after_load)
        context.close()
    return {kind: statistics.median(seconds) for kind, seconds in found.items()}


def measure_pages(address: str, paths: Iterable[str], rounds: int) -> bool:
    """Open and print all pages; return whether each was usable in time."""
    in_time = True
    with sync_playwright() as playwright:
        path = find_browser(Path(sys.executable))
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for name in paths:
            found = measure_page(browser, f"{address}/{name}", PAGES[name], rounds)
            figures = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in found.items())
            print(f"/{name}: {figures}", flush=True)
            in_time = in_time and found["cold"] <= PAGE_LIMIT_SECONDS
        browser.close()
    return in_time


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("pages", nargs="*", help="addresses of pages, without the slash")
    parser.add_argument("--rounds", type=int, default=3, help="openings of each kind")
    options = parser.parse_args(argv)
    if unknown := set(options.pages) - set(PAGES):
        parser.error(f"there is no page {sorted(unknown)}; known are {sorted(PAGES)}")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        process, started = start_gui(Path(folder) / "work", port)
        print(f"command to served page: {started:.2f} s (limit {START_LIMIT_SECONDS:.0f} s)")
        try:
            address = f"http://127.0.0.1:{port}"
            in_time = measure_pages(address, options.pages or PAGES, options.rounds)
        finally:
            process.terminate()
            process.wait(30)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"limit of a page {PAGE_LIMIT_SECONDS} s, cold; load of the machine {load}")
    return int(not in_time or started > START_LIMIT_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
