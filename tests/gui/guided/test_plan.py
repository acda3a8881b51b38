"""The plan: every goal, family, size of set and card gives a job that is valid and fits its set."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from kohya_gui.forms.preparation import full_raw
from kohya_gui.guided.adjust import FAULTS, LONGEST, adjust
from kohya_gui.guided.goals import CARDS, GOALS, STAGES, preset_of
from kohya_gui.guided.length import length_of, wanted_looks
from kohya_gui.guided.outcome import Checkpoint
from kohya_gui.guided.plan import (
    ENOUGH_TO_HOLD_OUT,
    Facts,
    base_values,
    draft_of,
    prefix_of,
    prompts_of,
    saving_memory,
    with_length,
    workload_of,
)
from kohya_gui.guided.project import Project
from kohya_gui.guided.trigger import check_word, count_with, suggest_word
from kohya_gui.guided.trying import order_of
from kohya_gui.jobs.costs import SIDES, Measured, cost_of, disk_of, memory_of
from kohya_gui.jobs.machine import Machine, read_cards
from sd_scripts.dataset.steps import StepArithmetic
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.shipped import STARTER_MODEL
from sd_scripts.train.prompts import parse_line

CARD = Machine("nvidia", "a card", 12 * 2**30, 11 * 2**30, 8)
CPU = Machine("processor", "a processor", 16 * 2**30, 8 * 2**30, 2)
KINDS = (("sd1", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon"), ("sdxl", "v_prediction"))


def project(**values: object) -> Project:
    given = {"model": "/m/model.safetensors", "folder": "/p/cats", "name": "cat", "trigger": "zwx"}
    return Project.model_validate({"id": "0" * 16, **given, **values})


def facts(family: str, prediction: str = "epsilon", captions: tuple[str, ...] = ()) -> Facts:
    return Facts(family, prediction, int(1e9), captions)


@pytest.mark.parametrize(("goal", "kind"), [*product(GOALS, KINDS)])
def test_every_goal_and_kind_of_model_gives_valid_jobs(goal: str, kind: tuple[str, str]) -> None:
    mine, known = project(goal=goal), facts(*kind)
    for number, card, machine in product((1, 2, 15, 80, 1000), CARDS, (CARD, CPU)):
        base = base_values(mine, known, machine)
        shown = number * int(base["dataset_repeats"])
        arithmetic = StepArithmetic(shown, shown, 1, shown, "")
        length = length_of(GOALS[goal], card, number, shown, arithmetic)
        values = with_length(base, length, card, number)
        prompts = prompts_of(mine, GOALS[goal], known)
        raw = full_raw(draft_of(values, prompts))
        job = job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, raw))
        assert job.training.max_train_steps == length.steps
        assert length.steps == length.stage * STAGES
        assert job.data.train_data_dir == mine.folder
        assert (job.validation.validation_split > 0) is (
            card != "quick" and number >= ENOUGH_TO_HOLD_OUT
        )
        assert all(parse_line(prompt)[1] == [] for prompt in prompts)
        assert "zwx" not in prompts[-1]
        assert all("zwx" in prompt for prompt in prompts[:-1])
        load = workload_of(values, known, length.steps, number, len(prompts))
        cost = cost_of(load, machine, mine.model)
        assert 0 < cost.seconds[0] < cost.seconds[1]
        assert cost.memory > 0
        assert cost.disk > 0


@pytest.mark.parametrize("goal", GOALS)
def test_length_follows_the_set_between_floor_and_cap(goal: str) -> None:
    one = GOALS[goal]
    middle = (one.floor + one.cap) // 2 // one.looks
    assert wanted_looks(one, "good", middle) == (middle * one.looks, "")
    assert wanted_looks(one, "good", 1) == (one.floor, "floor")
    assert wanted_looks(one, "good", 100_000) == (one.cap, "cap")
    quick, good, best = (wanted_looks(one, card, middle)[0] for card in CARDS)
    assert quick < good < best
    assert wanted_looks(one, "good", middle, 1.5)[0] == round(good * 1.5)


def test_steps_come_from_the_trainers_own_arithmetic() -> None:
    arithmetic = StepArithmetic(8, 8, 1, 8, "16 pictures x 3, with class pictures, batches of 12")
    length = length_of(GOALS["object"], "good", 16, 48, arithmetic)
    assert length.steps == 270  # 1,600 looks, of which each of the 8 steps shows 6
    assert length.looks == 101


@pytest.mark.parametrize("goal", GOALS)
def test_the_word_is_put_before_captions_only_where_they_lack_it(goal: str) -> None:
    mine = project(goal=goal, kind="robot")
    assert prefix_of(mine, GOALS[goal], ()) == "zwx robot,"
    assert prefix_of(mine, GOALS[goal], ("a zwx robot", "a robot")) == "zwx robot,"
    assert prefix_of(mine, GOALS[goal], ("a zwx robot", "Zwx, red")) is None


def test_shuffled_tags_keep_the_word_in_front() -> None:
    values = base_values(project(goal="character"), facts("sd1"), CARD)
    assert values["caption_prefix"] == "zwx character,"
    assert values["shuffle_caption"]
    assert values["keep_tokens"] >= 1


def test_a_processor_computes_in_full_precision_and_decisions_are_followed() -> None:
    assert base_values(project(), facts("sd1"), CARD)["mixed_precision"] == "bf16"
    assert "mixed_precision" not in base_values(project(), facts("sd1"), CPU)


def test_the_starter_has_its_own_recipe() -> None:
    values = base_values(project(model=str(STARTER_MODEL)), facts("sd1"), CPU)
    assert values["resolution"] == "128"
    assert "class_all" in values["reg_data_dir"]


def test_a_model_of_velocity_gets_the_preset_for_it() -> None:
    assert "v-prediction" in preset_of(GOALS["character"], "sdxl", "v_prediction")
    assert "v-prediction" not in preset_of(GOALS["character"], "sdxl", "epsilon")


def test_saving_memory_saves_memory() -> None:
    base = base_values(project(), facts("sdxl"), CARD)
    sizes = []
    small, smaller = saving_memory(base, more=False), saving_memory(base, more=True)
    for values in ({**base, "gradient_checkpointing": False}, small, smaller):
        sizes.append(memory_of(workload_of(values, facts("sdxl"), 100, 10, 3), CARD))
    assert sizes[0] > sizes[1] > sizes[2]
    moving = base_values(project(goal="character"), facts("sdxl"), CARD)
    assert "cache_text_encoder_outputs" not in saving_memory(moving, more=True)


def test_a_measured_run_of_the_same_model_goes_before_an_estimate() -> None:
    values = base_values(project(), facts("sd1"), CPU)
    load = workload_of(values, facts("sd1"), 100, 10, 3)
    run = Measured("before", "sd1", "/m/model.safetensors", load.pixels // 4, 1, False, 2.0)
    told = cost_of(load, CPU, "/m/model.safetensors", [run])
    assert told.measured == "before"
    assert told.seconds[0] > 100 * 2.0 * 4 * 0.9  # four times the pixels take four times as long
    other = Measured("sdxl", "sdxl", "/m/other", load.pixels, 1, False, 9.0)
    assert cost_of(load, CPU, "/m/model.safetensors", [other]).measured == ""


def test_the_drivers_table_is_read_also_with_commas_in_a_name() -> None:
    found = read_cards("GeForce, the large one, 24576, 20000\n")
    assert found is not None
    assert found.name == "GeForce, the large one"
    assert found.free == 20000 * 2**20
    assert read_cards("no devices were found") is None


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("", "empty"),
        ("two words", "odd"),
        ("a,b", "odd"),
        ("dog", "known"),
        ("sks", "known"),
        ("mycat", "parts"),
        ("zwx", "good"),
        ("qzvxqzvxqzvx", "long"),
    ],
)
def test_a_word_is_judged_as_the_model_reads_it(word: str, verdict: str) -> None:
    assert check_word(word).verdict == verdict


def test_a_word_is_suggested() -> None:
    assert suggest_word("robot", ["a small zwx robot", "a large zwx robot"], "1") == "zwx"
    for name in ("Anna Maria", "", "日本", "x", "dog"):
        word = suggest_word(name, [], "seed")
        assert check_word(word).verdict == "good"
        assert suggest_word(name, [], "seed") == word
    assert count_with("zwx", ["a zwx robot", "zwxy", "Zwx!"]) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_run_is_changed_and_still_valid(fault: str) -> None:
    for goal, family in product(GOALS, ("sd1", "sdxl")):
        mine = project(goal=goal)
        values = base_values(mine, facts(family), CARD)
        wanted = adjust(fault, values, mine)  # type: ignore[arg-type]
        assert wanted.reasons
        assert wanted.changes or wanted.length != 1.0
        changed = project(goal=goal, changes=dict(wanted.changes), length=wanted.length)
        after = base_values(changed, facts(family), CARD)
        raw = full_raw(draft_of(after, ()))
        job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, raw))


def test_too_weak_first_takes_longer_and_then_learns_faster() -> None:
    mine = project()
    values = base_values(mine, facts("sd1"), CARD)
    assert adjust("weak", values, mine).changes == {}
    long = project(length=LONGEST)
    assert adjust("weak", values, long).changes["learning_rate"] > values["learning_rate"]


def test_leaks_leave_the_text_encoder_alone() -> None:
    mine = project()
    changes = adjust("leaks", base_values(mine, facts("sd1"), CARD), mine).changes
    assert changes["network_train_unet_only"] is True
    assert changes["text_encoder_lr"] is None


def test_more_rank_takes_more_disk() -> None:
    values = base_values(project(), facts("sd1"), CARD)
    small = workload_of(values, facts("sd1"), 100, 10, 3)
    large = workload_of({**values, "network_dim": 128}, facts("sd1"), 100, 10, 3)
    assert disk_of(large) > disk_of(small)


def test_a_trial_paints_without_and_with_each_result() -> None:
    results = [Checkpoint(10, Path("/r/a.safetensors")), Checkpoint(20, Path("/r/b.safetensors"))]
    for family in SIDES:
        order = order_of(project(), {"clip_skip": 2}, family, results, ("a zwx cat", 0.8, 7))
        assert [one.column for one in order.pictures] == ["0", "10", "20"]
        assert [len(one.networks) for one in order.pictures] == [0, 1, 1]
        assert {one.networks[0].strength for one in order.pictures[1:]} == {0.8}
        assert {(one.prompt, one.seed, one.width) for one in order.pictures} == {
            ("a zwx cat", 7, SIDES[family])
        }
        assert order.base.clip_skip == 2
