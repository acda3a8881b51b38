"""The queue in a real browser: its order, changing a waiting job, pausing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.queue import JobQueue
from kohya_gui.workspace import open_workspace
from sd_scripts.runs.control import is_requested
from tests.support.jobs import draw_pictures
from tests.support.pages import PATIENCE_MS, Gui, Watched, make_run, running_gui
from tests.support.patience import eventually

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    workspace = open_workspace(tmp_path_factory.mktemp("queue") / "work")
    with running_gui(workspace.path) as served:
        yield served


@pytest.fixture
def queue(gui: Gui, tiny_sd1: Path, tmp_path: Path) -> Iterator[JobQueue]:
    """Three jobs that wait in a paused queue."""
    queue = JobQueue(open_workspace(gui.workspace))
    queue.pause(True)
    text = settings(tiny_sd1, tmp_path)
    queue.add(
        [
            JobRequest(job_name="train_network", config_toml=f"{text}output_name = '{n}'\n", name=n)
            for n in ("first", "second", "third")
        ]
    )
    yield queue
    for job in queue.items():
        queue.remove(job.id)


def settings(model: Path, place: Path) -> str:
    """A job that could be started, but for its name."""
    pictures = draw_pictures(place / "pictures" / "2_cat")
    return (
        f"pretrained_model_name_or_path = '{model}'\ntrain_data_dir = '{pictures.parent}'\n"
        "caption_extension = '.txt'\nresolution = 64\nmin_bucket_reso = 64\n"
        "learning_rate = 0.001\nmax_train_epochs = 1\n"
    )


def names(queue: JobQueue) -> list[str]:
    return [job.request.name for job in queue.items()]


def card(page: Page) -> Page:
    page.wait_for_selector("[data-queue] li")
    return page


def test_the_order_is_changed_by_keyboard_and_by_dragging(
    watched: Watched, gui: Gui, queue: JobQueue
) -> None:
    watched.page.goto(gui.page("runs"))
    page = card(watched.page)
    later = page.get_by_role("button", name="Put first one place later")
    later.focus()
    page.keyboard.press("Enter")
    assert eventually(lambda: names(queue) == ["second", "first", "third"])
    expect(page.locator("[data-queue] li strong")).to_have_text(["second", "first", "third"])
    expect(later).to_be_focused()
    page.keyboard.press("Enter")
    assert eventually(lambda: names(queue) == ["second", "third", "first"])
    rows = page.locator("[data-queue] li")
    expect(rows.nth(2)).to_contain_text("first")
    rows.nth(2).drag_to(rows.nth(0))
    assert eventually(lambda: names(queue) == ["first", "second", "third"])
    page.get_by_role("button", name="Remove second from the queue").click()
    expect(page.locator("dialog")).to_contain_text("It has not begun")
    page.locator("dialog .kg-danger").click()
    assert eventually(lambda: names(queue) == ["first", "third"])


def test_a_waiting_job_is_changed_and_the_queue_goes_on(
    watched: Watched, gui: Gui, queue: JobQueue
) -> None:
    watched.page.goto(gui.page("runs"))
    page = card(watched.page)
    expect(page.locator("[data-queue=paused]")).to_contain_text("nothing starts by itself")
    page.get_by_role("link", name="Change the settings of second").click()
    watched.wait_for_form()
    save = page.get_by_role("button", name="Save changes to “second”")
    expect(save).to_be_visible()
    page.locator("#opt-output_name input, #opt-output_name textarea").fill("renamed")
    expect(page.locator("[data-check]", has_text="renamed")).to_be_visible()
    save.click()
    page.wait_for_url("**/runs")
    assert names(queue) == ["first", "renamed", "third"]
    for job in queue.items()[1:]:
        queue.remove(job.id)
    run = make_run(gui.workspace, "at work")
    page.get_by_role("button", name="Go on with the queue").click()
    assert eventually(lambda: not queue.content().paused)
    expect(page.locator("[data-queue=open] li")).to_have_count(1)
    page.get_by_role("link", name="at work", exact=True).first.click()
    page.locator("[data-ask=pause]").click()
    assert eventually(lambda: is_requested(run, "pause"))
    page.locator("[data-ask=go_on]").click()
    assert eventually(lambda: not is_requested(run, "pause"))


def test_lists_of_values_become_runs_that_are_told_and_queued(
    watched: Watched, gui: Gui, queue: JobQueue, tiny_sd1: Path, tmp_path: Path
) -> None:
    page = watched.open_form(gui.page("lora"))
    file = tmp_path / "job.toml"
    text = settings(tiny_sd1, tmp_path / "more")
    file.write_text(f"{text}output_name = 'many'\nnetwork_dim = [4, 8]\n", "utf-8")
    page.set_input_files("[data-open-file]", file)
    expect(page.locator("[data-sweep-runs]")).to_have_text("This makes 2 runs:")
    expect(page.locator("[data-course=done]")).to_have_text("It is 0.001 at every step.")
    page.locator("[data-sweep-add]").click()
    page.locator("[data-sweep-option]").last.fill("seed")
    page.locator("[data-sweep-values]").last.fill("1, 2, wrong")
    expect(page.locator("[data-sweep-problems]")).to_contain_text("wrong")
    page.locator("[data-sweep-values]").last.fill('"1", "2"')
    expect(page.locator("[data-sweep-runs]")).to_have_text("This makes 4 runs:")
    page.locator("[data-sweep-values]").last.fill("1, 2, 3")
    expect(page.locator("[data-sweep-runs]")).to_have_text("This makes 6 runs:")
    expect(page.locator(".kg-sweep-runs li").first).to_contain_text("many-network_dim-4-seed-1")
    expect(page.locator("[data-sweep-cost]")).to_contain_text("on the disk")
    page.reload()
    watched.wait_for_form()
    expect(page.locator("[data-sweep-values]").last).to_have_value("1, 2, 3")
    page.locator("[data-sweep-start]:enabled").click()
    tag = page.locator("[data-swept]").get_attribute("data-swept")
    assert names(queue)[3:] == [f"many-network_dim-{n}-seed-{s}" for n in (4, 8) for s in (1, 2, 3)]
    assert {job.request.tags for job in queue.items()[3:]} == {(tag,)}
    page.locator("[data-swept] a").first.click()
    expect(page.locator("[data-queue] li strong").last).to_have_text("many-network_dim-8-seed-3")
    assert watched.errors == []
