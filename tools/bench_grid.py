"""How fluid the Pictures page is with many pictures: `python -m tools.bench_grid [--pictures N]`.

It fills a folder with photos of 2.5 megapixels (a few files under many names) and captions, opens
it in headless Chromium, cold and again, and prints the seconds until the page can be used, until
pictures are seen, the frames while all of it is scrolled through, and the memory of the page.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from kohya_gui.settings import Settings, save_settings
from kohya_gui.workspace import open_workspace
from tools.bench_page import FLAGS, PAGE_LIMIT_SECONDS, free_port, start_gui
from tools.setup.browser import find_browser

_FILES: Final = 20
_SCROLL: Final = """async () => {
  const box = document.querySelector(".kg-tiles");
  const frames = [];
  let last = performance.now();
  for (let turn = 0; turn < 180; turn += 1) {
    box.scrollTop += 0.7 * box.clientHeight;
    await new Promise((go) => requestAnimationFrame(go));
    frames.push(performance.now() - last);
    last = performance.now();
  }
  frames.sort((a, b) => a - b);
  return [frames[90], frames[171], frames[179]];
}"""


def fill(folder: Path, number: int) -> None:
    """Write `number` pictures with captions."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for count in range(number):
        path = folder / f"{count:05d}.jpg"
        if count < _FILES:
            coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
            coarse.resize((1920, 1280), Image.Resampling.BICUBIC).save(path)
        else:
            os.link(folder / f"{count % _FILES:05d}.jpg", path)
        path.with_suffix(".txt").write_text(f"photo, tag{count % 97}, tag{count % 13}, outdoors")


def opening(page: Page, address: str) -> tuple[float, float]:
    """Open the folder; return the seconds until the page can be used, and until it is filled."""
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function("document.documentElement?.dataset.kgReady === 'dataset'", polling=10)
    usable = time.perf_counter() - began
    page.wait_for_selector(".kg-tile img")
    return usable, time.perf_counter() - began


def measure(page: Page, address: str, number: int) -> bool:
    """Measure and print; whether the page can be used within its limit."""
    times = [opening(page, address) for _ in range(2)]
    for kind, (usable, filled) in zip(("cold", "again"), times, strict=True):
        print(f"{kind}: usable after {usable:.2f} s, pictures seen after {filled:.2f} s")
    middle, slow, worst = page.evaluate(_SCROLL)
    print(f"frames: {middle:.0f} ms, 95 % under {slow:.0f} ms, longest {worst:.0f} ms")
    began = time.perf_counter()
    page.evaluate("document.querySelector('.kg-tiles').scrollTop = 1e9")
    page.get_by_text(f"{number - 1:05d}.jpg").first.wait_for()
    print(f"jump to the last picture: {time.perf_counter() - began:.2f} s")
    print(f"memory of scripts: {page.evaluate('performance.memory.usedJSHeapSize') / 1e6:.0f} MB")
    return max(usable for usable, _ in times) <= PAGE_LIMIT_SECONDS


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    number = parser.parse_args(argv).pictures
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place) / "pictures"
        fill(folder, number)
        workspace = open_workspace(Path(place) / "work")
        save_settings(workspace, Settings(roots=(str(folder),)))
        port = free_port()
        process, _ = start_gui(workspace.path, port)
        try:
            path = find_browser(Path(sys.executable))
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            address = f"http://127.0.0.1:{port}/pictures?folder={quote(str(folder))}"
            fast = measure(page, address, number)
            browser.close()
        finally:
            process.terminate()
            process.wait(30)
    return int(not fast)


if __name__ == "__main__":
    raise SystemExit(main())
