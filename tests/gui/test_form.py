"""The form: every option has one control, and what goes in comes out again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.context import Context
from kohya_gui.forms.form import (
    JobForm,
    changed_names,
    default_raw,
    only_changed,
    raw_of_values,
)
from kohya_gui.forms.layout import first_steps, sections
from kohya_gui.forms.widgets import choices_of, script_facts, shown_number
from kohya_gui.jobs.launch import JOB_PAGES
from kohya_gui.locales import load_texts
from kohya_gui.pages.captioning import CaptioningPage
from kohya_gui.pages.training import TrainingPage
from kohya_gui.quick_gradio import gr
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import JOBS, Job, TrainingJob, TrainNetworkJob
from sd_scripts.options.schema import option_specs, specs_by_name
from sd_scripts.options.values import job_from_values, values_of

NEEDED = {"pretrained_model_name_or_path": "model.safetensors", "train_data_dir": "pictures"}


def built_page(
    context: Context, job_type: type[Job] = TrainNetworkJob
) -> tuple[TrainingPage, gr.Blocks]:
    kind = TrainingPage if issubclass(job_type, TrainingJob) else CaptioningPage
    page = kind(context, job_type)
    with gr.Blocks(analytics_enabled=False) as blocks:
        page.build()
    return page, blocks


@pytest.mark.parametrize("name", JOB_PAGES)
def test_no_option_is_without_a_control_and_no_control_without_an_option(
    context: Context, name: str
) -> None:
    page, blocks = built_page(context, JOBS[name])
    components = [block for block in blocks.blocks.values() if isinstance(block, gr.Component)]
    asked = [one for one in components if one.elem_id and "kg-option" in one.elem_classes]
    controls = sorted(str(one.elem_id).removeprefix("opt-") for one in asked)
    prompts = ["extra-prompts"] if any(step.prompts for step in first_steps(JOBS[name])) else []
    assert controls == sorted([spec.name for spec in option_specs(JOBS[name])] + prompts)
    facts = json.loads(page._bridge.props["facts"])
    assert sorted(facts["options"]) == sorted(page._form.names)
    typed = {gr.Textbox, gr.Checkbox, gr.Dropdown, gr.Number, gr.Radio, gr.Slider}
    hidden = {"kg-draft", "kg-no-prompts"}
    others = [one for one in components if type(one) in typed and one not in asked]
    assert {str(one.elem_id) for one in others} <= hidden


def test_help_names_usual_values_cost_and_default() -> None:
    facts = script_facts(specs_by_name(TrainNetworkJob)["gradient_checkpointing"], load_texts())
    assert "SDXL" in facts["typical"]
    assert "longer" in facts["cost"]
    assert (facts["value"], facts["default"]) == ("yes or no", "off")
    facts = script_facts(specs_by_name(TrainNetworkJob)["save_state_on_train_end"], load_texts())
    assert facts["cost"] is None


def test_every_option_is_sent_with_every_event(context: Context) -> None:
    page, blocks = built_page(context)
    wanted = {component._id for component in page._form.components}
    fed = [fn for fn in blocks.fns.values() if wanted <= {part._id for part in fn.inputs}]
    assert {name for fn in fed for _, name in fn.targets} == {"change", "act", "alter"}


@pytest.mark.parametrize("job_type", JOBS.values(), ids=list(JOBS))
def test_first_steps_and_sections_together_hold_all_options_once(job_type: Any) -> None:
    placed = [name for step in first_steps(job_type) for name in step.options]
    placed += [spec.name for section in sections(job_type) for spec in section.options]
    assert sorted(placed) == sorted(spec.name for spec in option_specs(job_type))


def test_a_newcomer_is_asked_for_model_pictures_name_length_and_previews() -> None:
    asked = [step.options[0] for step in first_steps(TrainNetworkJob)]
    assert asked[:4] == [
        "pretrained_model_name_or_path",
        "train_data_dir",
        "output_name",
        "max_train_epochs",
    ]
    assert first_steps(TrainNetworkJob)[4].prompts


def test_a_form_nobody_touched_is_the_default_job() -> None:
    raw = {**default_raw(TrainNetworkJob), **NEEDED}
    job = job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, raw))
    assert values_of(job, only_changed=True) == NEEDED
    assert changed_names(TrainNetworkJob, default_raw(TrainNetworkJob)) == ()


VALUES = {
    "learning_rate": 1e-4,
    "unet_lr": 0.0,
    "text_encoder_lr": (5e-5, 0.0),
    "resolution": (512, 768),
    "lr_warmup_steps": 0.05,
    "optimizer_args": ("weight_decay=0.01", "betas=0.9,0.99"),
    "v2": False,
    "v_parameterization": True,
    "enable_bucket": True,
    "max_train_epochs": 7,
    "seed": 0,
    "network_dropout": 0.0,
    "save_precision": "fp16",
    "caption_prefix": "mycat, ",
    "keep_tokens_separator": "|||",
    "optimizer_type": "Lion",
    "lr_scheduler": "cosine",
}


def test_a_job_survives_the_form() -> None:
    job = job_from_values(TrainNetworkJob, {**NEEDED, **VALUES})
    raw = raw_of_values(TrainNetworkJob, values_of(job))
    again = job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, raw))
    assert again == job
    assert set(changed_names(TrainNetworkJob, raw)) >= {"unet_lr", "seed", "v2"}


@given(rate=st.floats(min_value=0, max_value=1000, allow_nan=False, allow_infinity=False))
def test_every_number_survives_being_written_as_people_do(rate: float) -> None:
    assert float(shown_number(rate)) == rate


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1e-4, "0.0001"),
        (5e-5, "5e-5"),
        (2e-6, "2e-6"),
        (0.05, "0.05"),
        (1.0, "1"),
        (0.0, "0"),
        (1600, "1600"),
        (1.5e20, "1.5e20"),
        (None, ""),
    ],
)
def test_numbers_look_as_people_write_them(value: object, shown: str) -> None:
    assert shown_number(value) == shown


def test_only_what_differs_is_sent_back(context: Context) -> None:
    page, _ = built_page(context)
    present = default_raw(TrainNetworkJob)
    wanted = {**present, "learning_rate": "1e-4", "flip_aug": True}
    updates = page._form.fill(wanted, present)
    changed = [
        (name, update["value"])
        for name, update in zip(page._form.names, updates, strict=True)
        if "value" in update
    ]
    assert sorted(changed) == [("flip_aug", True), ("learning_rate", "1e-4")]


def test_collecting_names_the_arguments_in_order(context: Context) -> None:
    page, _ = built_page(context)
    arguments = list(range(len(page._form.names)))
    assert list(page._form.collect(arguments).values()) == arguments


def test_a_value_that_is_wrong_stays_to_be_seen() -> None:
    raw = raw_of_values(TrainNetworkJob, {"learning_rate": "fast", "optimizer_type": "AdamX"})
    assert raw["learning_rate"] == "fast"
    assert raw["optimizer_type"] == "AdamX"


def test_only_changed_leaves_out_defaults_and_empties() -> None:
    raw = {**default_raw(TrainNetworkJob), "seed": None, "network_dim": "16"}
    assert only_changed(TrainNetworkJob, raw) == {"network_dim": "16"}


def test_an_optional_choice_can_be_taken_back() -> None:
    text = load_texts()
    specs = specs_by_name(TrainNetworkJob)
    offered = [value for _, value in choices_of(specs["save_precision"], text)]
    assert offered[0] == ""
    assert "fp16" in offered
    assert [value for _, value in choices_of(specs["v2"], text)] == ["", "true", "false"]


def test_placing_an_option_twice_is_a_fault_of_ours(context: Context) -> None:
    form = JobForm(TrainNetworkJob, context.text)
    with gr.Blocks(analytics_enabled=False):
        form.place("seed")
        with pytest.raises(AssertionError, match="seed"):
            form.place("seed")
