"""Trying prompts in the browser: a model, a LoRA, a table, settings taken over, a restart."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record
from sd_scripts.runs.status import derive_status
from sd_scripts.shipped import STARTER_MODEL
from tests.support.pages import PATIENCE_MS, Gui, Watched, make_run
from tests.support.painting import write_lora

expect.set_options(timeout=PATIENCE_MS)
TAGS = '{"10_cat": {"zwx cat": 20, "a red house": 7}}'


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    """A GUI with a run that has saved two LoRAs of the starter."""
    workspace = tmp_path_factory.mktemp("try") / "workspace"
    run = make_run(workspace, "robot", alive=False)
    config = f'pretrained_model_name_or_path = "{STARTER_MODEL.as_posix()}"\n'
    prompts = run.path / "prompts.txt"
    prompts.write_text("a large zwx robot --n fog --w 128 --h 128 --s 2 --l 3 --d 9\n", "utf-8")
    write_atomic(run.config, f'{config}sample_prompts = "{prompts.as_posix()}"\n')
    first = write_lora(
        run.output / "robot-000001.safetensors",
        STARTER_MODEL,
        "sd1",
        metadata={"ss_tag_frequency": TAGS},
    )
    last = run.output / "robot.safetensors"
    shutil.copy(first, last)
    os.utime(first, (1, 1))
    found = Gui(workspace)
    found.start()
    yield found
    found.stop()
    for folder in (workspace / "runs").iterdir():
        record = read_record(RunFolder(folder))
        if record and record.job == "try_prompts" and derive_status(RunFolder(folder)).alive:
            assert record.pid
            os.kill(record.pid, signal.SIGKILL)


def ready(page: Page) -> None:
    page.wait_for_function("document.documentElement.dataset.kgReady === 'try'")


def test_from_a_run_to_a_table_and_back(gui: Gui, browser: Browser) -> None:
    watched = Watched(browser.new_context(viewport={"width": 1280, "height": 900}))
    page = watched.page
    run = next((gui.workspace / "runs").iterdir()).name
    page.goto(gui.page(f"try?run={run}"))
    ready(page)

    # The run's base, last file, words and prompts are filled in.
    expect(page.locator("#try-prompts")).to_have_value("a large zwx robot")
    expect(page.locator("#try-negative")).to_have_value("fog")
    expect(page.locator("#try-seed")).to_have_value("9")
    expect(page.locator("[data-network]")).to_have_count(1)
    expect(page.locator("[data-empty]")).to_be_visible()
    page.get_by_role("button", name="zwx cat").click()
    expect(page.locator("#try-prompts")).to_have_value("a large zwx robot, zwx cat")

    # One picture; its settings and its file.
    expect(page.locator("[data-count]")).to_contain_text("1 picture.")
    page.locator("#try-paint").click()
    first = page.locator("[data-order]").first
    expect(first).to_have_attribute("data-state", "done")
    expect(page.locator("[data-worker]")).to_contain_text("is loaded and waits")
    page.locator("#try-prompts").fill("something else")
    first.locator("button.kg-try-tile").click()
    dialog = page.locator("dialog.kg-try-large")
    expect(dialog).to_contain_text("robot: 1")
    with page.expect_download() as download:
        dialog.get_by_text("Download").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    dialog.locator("[data-use]").click()
    expect(page.locator("#try-prompts")).to_have_value("a large zwx robot, zwx cat")

    # A table of both files at two strengths, told and counted before.
    page.locator("[data-network] button", has_text="Remove").click()
    page.locator("#try-compare").check()
    page.locator("#try-strengths").fill("0, 1")
    expect(page.locator("[data-count]")).to_contain_text("= 4 pictures.")
    expect(page.locator("[data-count]")).to_contain_text(re.compile(r"About \d"))
    page.locator("#try-paint").click()
    table = page.locator("[data-order][data-state='done'] table")
    expect(table).to_be_visible()
    assert table.locator("thead th").all_inner_texts() == ["File / strength", "0", "1"]
    assert table.locator("tbody th").all_inner_texts() == ["robot-000001", "robot"]
    expect(table.locator("img")).to_have_count(4)

    # A restarted GUI and a reloaded page have it all, and the process is still there.
    gui.stop()
    gui.start()
    page.goto(gui.page("try"))
    ready(page)
    expect(page.locator("[data-order]")).to_have_count(2)
    expect(page.locator("#try-prompts")).to_have_value("a large zwx robot, zwx cat")
    expect(page.locator("[data-worker]")).to_contain_text("is loaded and waits")
    page.locator("#try-unload").click()
    expect(page.locator("[data-worker]")).to_contain_text("No model is loaded")
    assert watched.outside == []
    assert [error for error in watched.errors if "Failed to load resource" not in error] == []


def test_what_is_in_the_way_is_asked_about_once(gui: Gui, browser: Browser) -> None:
    training = make_run(gui.workspace, "portrait")
    try:
        watched = Watched(browser.new_context())
        page = watched.page
        page.goto(gui.page("try"))
        ready(page)
        expect(page.locator("#try-paint")).to_be_disabled()
        expect(page.locator("[data-count]")).to_contain_text("Write a prompt")
        page.locator("#try-prompts").fill("a large cat on a green background")
        page.locator("#try-steps").fill("0")
        page.locator("#try-paint").click()
        expect(page.locator(".kg-try-form .kg-bad")).to_contain_text("steps (1 to 200)")
        page.locator("#try-steps").fill("150")
        page.locator("#try-paint").click()
        dialog = page.locator("dialog")
        expect(dialog).to_contain_text("portrait")
        dialog.get_by_role("button", name="Paint all the same").click()
        order = page.locator("[data-order]").first
        expect(order).to_have_attribute("data-state", re.compile("waiting|painting"))
        order.locator("[data-cancel]").click()
        expect(order).to_have_attribute("data-state", "cancelled")
        expect(order.locator("[data-rest]")).to_be_visible()
        assert watched.errors == []
    finally:
        shutil.rmtree(training.path)
