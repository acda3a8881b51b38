"""The run view in a real browser, fed by a run folder written as a trainer would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from kohya_gui.jobs.notes import change_tags, read_note
from kohya_gui.workspace import open_workspace
from sd_scripts.errors import Problem
from sd_scripts.runs.control import is_requested, request
from sd_scripts.runs.events import EndEvent, EventWriter, PhaseEvent, WarningEvent
from sd_scripts.runs.folder import RunFolder
from tests.support.pages import (
    PATIENCE_MS,
    ROOT,
    Gui,
    Watched,
    add_sample,
    add_save,
    add_steps,
    make_run,
    running_gui,
)
from tests.support.patience import eventually

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    workspace = open_workspace(tmp_path_factory.mktemp("runs") / "work")
    with running_gui(workspace.path) as served:
        yield served


@pytest.fixture
def run(gui: Gui) -> RunFolder:
    return make_run(gui.workspace, "mycat")


def view(watched: Watched, gui: Gui, run: RunFolder) -> Page:
    watched.page.goto(gui.page(f"runs?run={run.id}"))
    watched.page.wait_for_selector("[data-state]")
    return watched.page


def end(run: RunFolder, event: EndEvent) -> None:
    with EventWriter(run.events) as events:
        events.emit(event)


def test_a_run_is_followed_without_reloading(watched: Watched, gui: Gui, run: RunFolder) -> None:
    page = view(watched, gui, run)
    expect(page.locator("[data-state]")).to_have_attribute("data-state", "running")
    expect(page.locator("[data-fact=step]")).to_have_text("30 / 100")
    expect(page.locator("[data-fact=speed]")).to_have_text("2 steps/s")
    expect(page.locator("[data-fact=eta]")).to_have_text("35 s")
    expect(page.locator("[role=progressbar]")).to_have_attribute("aria-valuenow", "30")
    add_steps(run, 31, 60)
    expect(page.locator("[data-fact=step]")).to_have_text("60 / 100")
    expect(page.locator("[role=progressbar]")).to_have_attribute("aria-valuenow", "60")
    with open(run.log, "ab") as log:
        log.write(b"step 60\rstep 61\n")
    expect(page.locator(".kg-log-lines")).to_contain_text("step 61")
    assert "step 60" not in page.locator(".kg-log-lines").inner_text()
    add_save(run, 60)
    expect(page.locator("a", has_text="mycat-step00000060.safetensors")).to_be_visible()
    end(run, EndEvent(status="finished", reason="All done."))
    expect(page.locator("[data-state]")).to_have_attribute("data-state", "finished")
    expect(page.locator("a", has_text="Use these settings again")).to_be_visible()


def test_charts_show_values_under_the_pointer(watched: Watched, gui: Gui, run: RunFolder) -> None:
    page = view(watched, gui, run)
    loss = page.locator("canvas").first
    expect(loss).to_have_attribute("aria-label", re.compile("each step 0.03226"))
    expect(page.locator("canvas").nth(1)).to_have_attribute("aria-label", re.compile("unet 1e-4"))
    box = loss.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 60)
    expect(page.locator(".kg-chart-tip").first).to_contain_text("Step 30")


def test_samples_stand_by_prompt_and_step(watched: Watched, gui: Gui, run: RunFolder) -> None:
    for step in (10, 20, 30):
        for index, prompt in enumerate(["a cat", "a <b>dog</b>"]):
            add_sample(run, step, index, prompt)
    page = view(watched, gui, run)
    rows = page.locator(".kg-matrix tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1).locator("th")).to_have_text("a <b>dog</b>")
    expect(page.locator(".kg-matrix thead th")).to_have_text(
        ["Prompt", "Step 10", "Step 20", "Step 30"]
    )
    images = page.locator(".kg-thumb img")
    expect(images).to_have_count(6)
    images.last.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.kg-thumb img')].every(i => i.naturalWidth > 0)"
    )
    assert all(".webp" in (image.get_attribute("src") or "") for image in images.all())
    images.first.click()
    large = page.locator("dialog img")
    expect(large).to_be_visible()
    first = large.get_attribute("src")
    page.keyboard.press("ArrowRight")
    assert large.get_attribute("src") != first


def test_stop_asks_the_trainer_then_kill_asks_the_user(
    watched: Watched, gui: Gui, run: RunFolder
) -> None:
    add_save(run, 20)
    page = view(watched, gui, run)
    page.click("[data-ask=stop]")
    kill = page.locator("[data-ask=kill]")
    expect(kill).to_be_visible()
    assert eventually(lambda: is_requested(run, "stop"))
    kill.click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("the 10 steps since the last saved file (step 20) are lost")
    dialog.locator("button", has_text="Cancel").click()
    expect(dialog).to_have_count(0)
    assert not (run.control / "kill").exists()


def test_previews_and_saves_can_be_asked_for(watched: Watched, gui: Gui, run: RunFolder) -> None:
    page = view(watched, gui, run)
    page.click("[data-ask=sample]")
    expect(page.locator("[data-ask=sample]")).to_have_text("Preview comes after this step")
    expect(page.locator("[data-ask=sample]")).to_be_disabled()
    page.click("[data-ask=save]")
    expect(page.locator("[data-ask=save]")).to_be_disabled()
    assert eventually(lambda: is_requested(run, "sample"))
    assert eventually(lambda: is_requested(run, "save"))


def test_a_failure_tells_its_cause_and_the_remedy(watched: Watched, gui: Gui) -> None:
    run = make_run(gui.workspace, "broken", alive=False)
    problem = Problem("It does not fit", "train_batch_size", "set train_batch_size to 1")
    end(run, EndEvent(status="failed", reason="CUDA out of memory", problems=(problem,)))
    page = view(watched, gui, run)
    told = page.locator("[role=alert]")
    expect(told).to_contain_text("CUDA out of memory")
    expect(told).to_contain_text("train_batch_size")
    expect(told).to_contain_text("set train_batch_size to 1")


def test_a_crash_without_a_last_word_is_explained_from_the_log(watched: Watched, gui: Gui) -> None:
    run = make_run(gui.workspace, "crashed", alive=False)
    trace = "Traceback (most recent call last):\n  x\ntorch.OutOfMemoryError: CUDA out of memory\n"
    run.log.write_text(trace)
    page = view(watched, gui, run)
    expect(page.locator("[role=alert]")).to_contain_text("graphics card ran out of memory")
    expect(page.locator("[role=alert]")).to_contain_text("gradient_checkpointing")


def test_a_remedy_is_a_button_to_settings_with_the_change(watched: Watched, gui: Gui) -> None:
    run = make_run(gui.workspace, "full card", alive=False)
    needed = "pretrained_model_name_or_path = '/m.safetensors'\ntrain_data_dir = '/pictures'\n"
    run.config.write_text(needed, "utf-8")
    save = add_save(run, 20)
    end(run, EndEvent(status="failed", reason="CUDA out of memory. Tried to allocate 2 GiB"))
    page = view(watched, gui, run)
    remedy = page.locator(".kg-remedy").first
    expect(remedy).to_contain_text("Encode the pictures beforehand")
    expect(remedy.locator("tbody td")).to_have_text(["off", "on"])
    expect(remedy.locator("[data-goes-on]")).to_contain_text("no state was saved")
    expect(page.locator(".kg-last-lines")).to_contain_text("the trainer is up")
    remedy.get_by_role("link").click()
    watched.wait_for_form()
    expect(page.locator("[data-slot=notice]")).to_contain_text("off → on")
    expect(page.locator("#opt-cache_latents input")).to_be_checked()
    view(watched, gui, run)
    page.get_by_role("link", name="Train on from here").click()
    watched.wait_for_form()
    expect(page.locator("#opt-network_weights input, #opt-network_weights textarea")).to_have_value(
        str(save)
    )


def test_phases_before_the_first_step_have_a_bar(watched: Watched, gui: Gui) -> None:
    run = make_run(gui.workspace, "preparing", steps=0)
    with EventWriter(run.events) as events:
        events.emit(PhaseEvent(name="latents", done=3, total=12, text="Encoding pictures"))
        events.emit(WarningEvent(text="A picture was skipped", hint="look", option="bad_images"))
    page = view(watched, gui, run)
    expect(page.locator("[role=progressbar]")).to_have_attribute("aria-valuenow", "25")
    expect(page.locator("[data-fact=detail]")).to_contain_text("Encoding pictures")
    expect(page.locator(".kg-note", has_text="A picture was skipped")).to_be_visible()


def test_a_killed_program_that_is_started_again_is_survived_by_the_open_page(
    watched: Watched, gui: Gui, run: RunFolder
) -> None:
    page = view(watched, gui, run)
    gui.kill()
    add_steps(run, 31, 70)
    gui.start()
    expect(page.locator("[data-fact=step]")).to_have_text("70 / 100")
    watched.errors.clear()  # the browser tells of requests that met no server


def test_a_log_of_100_000_lines_stays_fluid(watched: Watched, gui: Gui, run: RunFolder) -> None:
    run.log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    page = view(watched, gui, run)
    pane = page.locator(".kg-log")
    expect(page.locator(".kg-log-lines")).to_contain_text("line 99999")
    expect(page.get_by_text("earlier lines are not shown")).to_be_visible()
    assert page.evaluate("document.querySelector('.kg-log-lines').textContent.length") < 5000
    pane.scroll_into_view_if_needed()
    pane.hover()
    page.mouse.wheel(0, -4000)
    follow = page.get_by_label("follow the end")
    expect(follow).not_to_be_checked()
    before = pane.evaluate("node => node.scrollTop")
    with open(run.log, "a") as log:
        log.write("one more\n")
    page.wait_for_function("document.querySelector('.kg-log-space').clientHeight > 0")
    assert abs(pane.evaluate("node => node.scrollTop") - before) < 100
    follow.check()
    expect(page.locator(".kg-log-lines")).to_contain_text("one more")


def test_the_list_shows_all_runs_and_deletes_one_after_asking(watched: Watched, gui: Gui) -> None:
    run = make_run(gui.workspace, "to delete", alive=False)
    end(run, EndEvent(status="finished"))
    page = watched.page
    page.goto(gui.page("runs"))
    row = page.locator(f"tr[data-run='{run.id}']")
    expect(row).to_contain_text("finished")
    row.get_by_role("checkbox").check()
    delete = page.locator(".kg-bulk .kg-danger")
    delete.click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("Delete “to delete”?")
    dialog.locator("button", has_text="Cancel").click()
    assert run.path.exists()
    delete.click()
    page.locator("dialog .kg-danger").click()
    expect(row).to_have_count(0)
    assert eventually(lambda: not run.path.exists())


def test_runs_are_found_by_words_values_and_tags_and_notes_are_not_written_over(
    watched: Watched, gui: Gui
) -> None:
    found, other = (make_run(gui.workspace, name, alive=False) for name in ("findme", "findnot"))
    found.config.write_text("[network]\nnetwork_dim = 77\n")
    page = watched.page
    page.goto(gui.page("runs"))
    search = page.get_by_role("searchbox")
    search.fill("find")
    for run in (found, other):
        expect(page.locator(f"tr[data-run='{run.id}']")).to_be_visible()
    search.fill("network_dim=77")
    expect(page.locator("[data-history] tr[data-run]")).to_have_count(1)
    page.locator(f"tr[data-run='{found.id}']").get_by_role("checkbox").check()
    page.get_by_role("button", name="Tags…").click()
    page.get_by_label("Tags", exact=True).fill("best")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="#best").click()
    expect(search).to_have_value("#best")
    page.reload()
    expect(search).to_have_value("#best")
    page.get_by_role("link", name="findme").click()
    note = page.get_by_label("Note on this run")
    expect(page.get_by_label("Tags, with commas between them")).to_have_value("best")
    change_tags(open_workspace(gui.workspace), found, ["theirs"])
    note.fill("mine")
    page.locator("[data-note=save]").click()
    expect(page.locator("[data-note=changed]")).to_contain_text("#theirs")
    page.get_by_role("button", name="Take theirs").click()
    note.fill("mine")
    page.locator("[data-note=save]").click()
    assert eventually(lambda: read_note(found).note == "mine")
    assert read_note(found).tags == ("best", "theirs")


def test_runs_are_compared_side_by_side(watched: Watched, gui: Gui) -> None:
    runs = [make_run(gui.workspace, f"side, {n}", alive=False) for n in (1, 2)]
    for number, run in enumerate(runs):
        run.config.write_text(f"network_dim = {8 * (1 + number)}\ntrain_batch_size = 2\n")
        add_sample(run, 10, 0, "a cat")
        end(run, EndEvent(status="finished"))
    page = watched.page
    page.goto(gui.page("runs?q=side"))
    rows = page.locator("[data-history] tbody tr")
    expect(rows).to_have_count(2)
    for number in (0, 1):
        rows.nth(number).get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare").click()
    difference = page.locator("tr[data-option]")
    expect(difference).to_have_count(1)
    expect(difference.locator("td")).to_have_text(["16", "8"])
    expect(page.locator("canvas").first).to_have_attribute("aria-label", re.compile("side, 1.*"))
    expect(page.locator(".kg-compare-prompt .kg-thumb img")).to_have_count(2)
    page.get_by_label("pictures seen").check()
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 60)
    expect(page.locator(".kg-chart-tip").first).to_contain_text("Pictures seen 60")


def test_a_run_that_is_deleted_while_it_is_looked_at_is_told(
    watched: Watched, gui: Gui, run: RunFolder
) -> None:
    page = view(watched, gui, run)
    shutil.rmtree(run.path)
    expect(page.locator(".kg-empty")).to_contain_text(f"There is no run {run.id}")


def test_a_run_that_is_none_is_told(watched: Watched, gui: Gui) -> None:
    watched.page.goto(gui.page("runs?run=none-20260101-000000"))
    expect(watched.page.locator(".kg-empty")).to_contain_text("There is no run none-2026")


def test_running_jobs_are_found_on_every_page(watched: Watched, gui: Gui, run: RunFolder) -> None:
    page = watched.page
    page.goto(gui.page(""))
    expect(page.locator("[data-job]")).to_be_visible()
    expect(page.locator(f"tr[data-run='{run.id}']")).to_be_visible()
    page.goto(gui.page("settings"))
    page.locator("[data-job]").click()
    page.wait_for_selector("[data-state=running]")


def test_a_stop_that_was_asked_elsewhere_is_shown(
    watched: Watched, gui: Gui, run: RunFolder
) -> None:
    page = view(watched, gui, run)
    request(run, "stop")
    expect(page.locator("[data-state]")).to_have_attribute("data-state", "stopping")


def test_looks_get_rarer_where_nothing_changes_and_end_while_hidden(
    watched: Watched, gui: Gui
) -> None:
    page = watched.page  # without Gradio, whose own timers take minutes of played time
    page.clock.install(time=0)
    page.goto(gui.page("robots.txt"))
    page.add_script_tag(path=ROOT / "kohya_gui" / "assets" / "js" / "core.js")
    page.clock.pause_at(24 * 3600)  # from here on time passes by run_for alone
    count = """async (wish) => {
        window.looks = 0;
        window.looking = window.KG.every(1000, async () => { window.looks += 1; return wish; });
    }"""
    found = {}
    for wish in ("changed", "same"):
        page.evaluate(count, wish)
        page.clock.run_for(100_000)
        found[wish] = page.evaluate("window.looks")
        if wish == "changed":
            page.evaluate("window.looking.stop()")
    assert found["changed"] > 90
    assert 20 < found["same"] < 60
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    page.clock.run_for(60_000)
    assert page.evaluate("window.looks") == found["same"]
    page.evaluate("window.looking.stop()")
