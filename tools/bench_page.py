"""How long the page takes: from the command to a served page, and from there until it can be used.

`python -m tools.bench_page` starts the GUI on an empty workspace and opens the LoRA page, every
option present, in headless Chromium: five times with an empty cache, five times with a warm one.
A page counts as usable when its form was filled by the server and has its first report.
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
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tools.setup.browser import find_browser

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
START_LIMIT_SECONDS = 5.0
PAGE_LIMIT_SECONDS = 1.5


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_gui(workspace: Path, port: int) -> tuple[subprocess.Popen[bytes], float]:
    """Start the GUI; return its process and the seconds until the LoRA page was answered."""
    command = [sys.executable, "-m", "kohya_gui", "--headless", "--server_port", str(port)]
    command += ["--workspace", str(workspace)]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
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


def seconds_until_usable(context: BrowserContext, address: str) -> tuple[float, float]:
    """Open the form in a new tab; return seconds from navigation and from the load event."""
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_function("document.documentElement?.dataset.kgReady === 'form'", polling=10)
    now, loaded = page.evaluate(
        "[performance.now(), performance.getEntriesByType('navigation')[0].loadEventEnd]"
    )
    page.close()
    return now / 1000, (now - loaded) / 1000


def measure_pages(browser: Browser, address: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every opening, by kind."""
    found: dict[str, list[float]] = {"cold": [], "warm": [], "cold after load": []}
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        cold, after_load = seconds_until_usable(context, address)
        warm, _ = seconds_until_usable(context, address)
        found["cold"].append(cold)
        found["warm"].append(warm)
        found["cold after load"].append(after_load)
        context.close()
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5, help="openings of each kind")
    rounds = parser.parse_args(argv).rounds
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port = free_port()
        process, started = start_gui(Path(folder) / "work", port)
        try:
            path = find_browser(Path(sys.executable))
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            found = measure_pages(browser, f"http://127.0.0.1:{port}/lora", rounds)
            browser.close()
        finally:
            process.terminate()
            process.wait(30)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"command to served page: {started:.2f} s (limit {START_LIMIT_SECONDS:.0f} s)")
    for kind, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"usable, {kind}: {middle:.2f} s, from {min(seconds):.2f} to {max(seconds):.2f} s")
    print(f"limit of the page {PAGE_LIMIT_SECONDS} s after load; load of the machine {load}")
    late = statistics.median(found["cold after load"]) > PAGE_LIMIT_SECONDS
    return int(late or started > START_LIMIT_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
