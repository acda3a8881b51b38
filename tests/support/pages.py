"""The real GUI on a free port and a real browser: what the tests of the pages stand on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.request import ProxyHandler, build_opener

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from sd_scripts.runs.events import EventWriter, SampleEvent, SaveEvent, StartEvent, StepEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import ProcessIdentity, own_identity
from sd_scripts.runs.record import RunRecord, write_record
from tests.support.browser import browser_path
from tests.support.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SETTLED: Final = """() => {
  const root = document.documentElement;
  if (document.querySelector('[data-widget=form]') && !root.dataset.kgWhole) return false;
  const height = document.body.scrollHeight;
  const same = root.dataset.lastHeight === String(height);
  root.dataset.lastHeight = String(height);
  return same && height > 150 && document.querySelector('.kg-main') !== null;
}"""
"""Whether the scripts have drawn what there is: nothing has grown since the last look."""
STILL: Final = "!document.getAnimations().some((one) => one instanceof CSSTransition)"
"""Whether no colour is between two others."""
PATIENCE_MS = 1000 * PATIENCE_SECONDS
"""How long a test waits for the page."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gui:
    """A GUI process on a workspace; it can be ended and started anew."""

    def __init__(self, workspace: Path, port: int | None = None, module: str = "kohya_gui") -> None:
        self.workspace = workspace
        self._module = module
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = workspace.parent / f"gui-{self.port}.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith("KOHYA_GUI_")}
        variables["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", self._module, "--headless"]
        command += ["--server_port", str(self.port), "--workspace", str(self.workspace)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=variables)
        opener = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + 90
        while True:
            try:
                with opener.open(self.address, timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise AssertionError(self._log.read_text("utf-8", "replace")) from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End it as Ctrl-C would, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """End it without a word, and wait."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def page(self, path: str) -> str:
        """Return the address of a page."""
        return f"{self.address}/{path}"


@contextmanager
def running_gui(workspace: Path, module: str = "kohya_gui") -> Iterator[Gui]:
    """Run a GUI for the time of a test."""
    gui = Gui(workspace, module=module)
    gui.start()
    try:
        yield gui
    finally:
        gui.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose faults are kept: script errors, and requests that leave this machine."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        self.page.on("request", lambda request: self._look(request.url))

    def _look(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:")):
            self.outside.append(url)

    def open_form(self, address: str) -> Page:
        """Open a page with a form and wait until it is filled."""
        self.page.goto(address)
        self.wait_for_form()
        return self.page

    def wait_for_form(self) -> None:
        """Wait until the form's script has its first answer and every option is drawn."""
        self.page.wait_for_function("document.documentElement.dataset.kgWhole === 'form'")


def settled(page: Page) -> None:
    """Wait until a page's scripts have drawn what there is, and no colour is between two others."""
    page.wait_for_function(_SETTLED, polling=700)
    page.wait_for_function(STILL)


def tab_to(page: Page, selector: str) -> None:
    """Wait until a control is there to be used, then press Tab until it has the focus."""
    expect(page.locator(selector).first).to_be_enabled()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
    raise AssertionError(f"{selector} is not reached by Tab")


def make_run(
    workspace: Path, name: str, *, alive: bool = True, steps: int = 30, device: str = "default"
) -> RunFolder:
    """Make a run folder as a trainer would; it counts as at work as long as this process lives."""
    run = RunFolder.create(workspace / "runs", name, "seed = 7\n")
    process = own_identity()
    if not alive:
        process = ProcessIdentity(pid=1, create_time=1.0, boot_id="of another time")
    record = RunRecord(name=name, job="train_network", argv=("python", "-m", "trainer"))
    record = record.model_copy(update={"device": device})
    write_record(run, record.with_process(process))
    with EventWriter(run.events) as events:
        events.emit(
            StartEvent(
                total_steps=100,
                num_epochs=4,
                num_images=60,
                family="sd1",
                trainable_parameters=1000,
                output_dir=str(run.output),
            )
        )
    add_steps(run, 1, steps)
    run.log.write_bytes(b"the trainer is up\n")
    return run


def add_steps(run: RunFolder, first: int, last: int) -> None:
    """Tell steps as a trainer would."""
    with EventWriter(run.events) as events:
        for step in range(first, last + 1):
            events.emit(
                StepEvent(
                    step=step,
                    epoch=1,
                    loss=1.0 / (1 + step),
                    lr={"unet": 1e-4, "text_encoder": 5e-5},
                    seconds_per_step=0.5,
                    eta_seconds=float(100 - step) / 2,
                )
            )


def add_sample(run: RunFolder, step: int, index: int, prompt: str) -> Path:
    """Write a preview picture and tell of it."""
    from PIL import Image

    path = run.samples / f"{step:06d}_{index:02d}.png"
    Image.new("RGB", (64, 64), (3 * step % 255, 80 * index % 255, 120)).save(path)
    with EventWriter(run.events) as events:
        events.emit(SampleEvent(path=str(path), prompt=prompt, seed=1, step=step, index=index))
    return path


def add_save(run: RunFolder, step: int) -> Path:
    """Write a trained file and tell of it."""
    path = run.output / f"mycat-step{step:08d}.safetensors"
    path.write_bytes(b"weights" * 100)
    with EventWriter(run.events) as events:
        events.emit(SaveEvent(path=str(path), step=step))
    return path
