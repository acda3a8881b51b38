"""A form that is open twice: neither writes over the other, and who lost the draft is told."""

from __future__ import annotations

import json
from typing import Any

from kohya_gui.context import Context
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import default_raw
from kohya_gui.forms.tabs import Tab, of_tab, place_of
from kohya_gui.pages.training import TrainingPage
from kohya_gui.quick_gradio import gr
from sd_scripts.options.jobs import TrainNetworkJob

JOB = "train_network"


def edited(page: TrainingPage, mark: str, name: str) -> Any:
    raw = {**default_raw(TrainNetworkJob), "output_name": name}
    return json.loads(page._on_edit(mark, "", *(raw[option] for option in page._form.names)))


def test_two_tabs_on_one_draft_do_not_write_over_each_other(context: Context) -> None:
    page = TrainingPage(context, TrainNetworkJob)
    with gr.Blocks(analytics_enabled=False):
        page.build()
    draft_id = context.drafts.new_id()
    context.drafts.save(draft_id, Draft(JOB, {"seed": "1"}))
    wish = json.dumps({"draft": draft_id})
    first, second = page._on_open(wish)[1], page._on_open(wish)[1]
    assert first != second
    assert edited(page, second, "theirs")["draft"] == draft_id
    told = edited(page, first, "mine")
    assert told["draft"] != draft_id
    assert "copy" in told["notice"]["text"]
    again = edited(page, first, "mine too")
    assert again["draft"] == told["draft"]
    assert "notice" not in again
    kept = {name: context.drafts.load(name, JOB) for name in (draft_id, told["draft"])}
    assert [one.values["output_name"] for one in kept.values() if one] == ["theirs", "mine too"]


def test_a_copy_changes_no_waiting_job(context: Context) -> None:
    drafts = context.drafts
    draft_id = drafts.new_id()
    about = {"queued": "a", "version": 2, "name": "x", "preset": "1-sd15", "writer": "second"}
    drafts.save(draft_id, Draft(JOB, {}, "", about))
    place = place_of(drafts, Tab(draft_id, "first"), JOB)
    assert place.parted
    assert of_tab(Draft(JOB), place).about == {"preset": "1-sd15", "writer": "first"}


def test_a_draft_of_before_belongs_to_whoever_asks(context: Context) -> None:
    draft_id = context.drafts.new_id()
    context.drafts.save(draft_id, Draft(JOB))
    assert place_of(context.drafts, Tab(draft_id, "w"), JOB).draft_id == draft_id
