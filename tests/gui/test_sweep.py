"""Several runs from one form: kept in the draft, shown beforehand, queued all or none."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.context import Context
from kohya_gui.forms import live
from kohya_gui.forms.desk import Desk
from kohya_gui.forms.drafts import SWEEP, Draft
from kohya_gui.forms.toml_pane import draft_toml, with_toml
from kohya_gui.jobs.sweeps import MAX_RUNS
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.jobs import MakeCaptionsJob, TrainNetworkJob
from sd_scripts.options.toml_file import read_toml
from tests.support.patience import eventually
from tests.support.tiny_models import make_tiny_checkpoint


@pytest.fixture
def desk(context: Context) -> Desk:
    context.queue.pause(True)
    return Desk(context, TrainNetworkJob)


@pytest.fixture
def ready(desk: Desk, tmp_path: Path, pictures: Path) -> Draft:
    """A form with which a training could start, whose files have been looked at."""
    model = make_tiny_checkpoint("sd1", tmp_path / "tiny.safetensors")
    values: dict[str, object] = {
        "pretrained_model_name_or_path": str(model),
        "train_data_dir": str(pictures),
        "caption_extension": ".txt",
        "output_name": "mycat",
        "learning_rate": "0.0001",
        "max_train_epochs": "2",
    }
    draft = Draft("train_network", values)
    looked(desk, varied(draft, seed=["1"]))
    return draft


def looked(desk: Desk, draft: Draft) -> dict[str, Any]:
    """What the page is told in the end, when all files have been looked at."""
    assert eventually(lambda: not desk.sweep.look(draft)["working"])
    return desk.sweep.look(draft)


def varied(draft: Draft, **lists: list[str]) -> Draft:
    return replace(draft, about={SWEEP: lists})


def test_runs_and_their_cost_are_told_beforehand(desk: Desk, ready: Draft) -> None:
    look = looked(desk, varied(ready, network_dim=["8", "16"], max_train_epochs=["1", "2", "3"]))
    assert look["problems"] == []
    assert [run["name"] for run in look["runs"]][:2] == [
        "mycat-network_dim-8-max_train_epochs-1",
        "mycat-network_dim-8-max_train_epochs-2",
    ]
    assert look["runs"][5]["changes"][0]["value"] == "16"
    steps_of_an_epoch = 6  # two pictures, three times each
    assert look["cost"]["steps"] == 2 * (1 + 2 + 3) * steps_of_an_epoch
    single = desk.sweep.look(varied(ready, network_dim=["8"]))["cost"]
    double = desk.sweep.look(varied(ready, network_dim=["8", "16"]))["cost"]
    assert double["disk"] > 2 * single["disk"]
    assert double["seconds"][1] == pytest.approx(2 * single["seconds"][1])
    assert double["free"] > 0


def test_a_sweep_over_as_many_plans_of_pictures_as_it_may_have_ends(
    desk: Desk, ready: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each resolution makes a plan of its own; none of them is thrown out by the others."""
    plans: list[str] = []
    plan = live.plan_dataset

    def planned(data: DataOptions, *others: Any, **more: Any) -> Any:
        plans.append(str(data.resolution))
        return plan(data, *others, **more)

    monkeypatch.setattr(live, "plan_dataset", planned)
    sizes = [str(64 * number) for number in range(4, 4 + MAX_RUNS)]
    draft = varied(ready, resolution=sizes)
    assert looked(desk, draft)["cost"]["steps"] > 0
    assert len(plans) == len(set(plans)) == MAX_RUNS


def test_all_runs_are_queued_with_a_name_and_a_tag(
    desk: Desk, context: Context, ready: Draft
) -> None:
    answer = desk.act("sweep", {}, varied(ready, network_dim=["8", "16"]))
    assert answer["state"] == "swept"
    jobs = context.queue.items()
    assert [job.request.name for job in jobs] == ["mycat-network_dim-8", "mycat-network_dim-16"]
    values = read_toml(jobs[1].request.config_toml)
    assert (values["network_dim"], values["output_name"]) == (16, "mycat-network_dim-16")
    assert {job.request.tags for job in jobs} == {(answer["tag"],)}
    assert " " not in answer["tag"]


def test_what_is_wrong_with_some_runs_is_told_for_all_and_none_is_queued(
    desk: Desk, context: Context, ready: Draft
) -> None:
    draft = varied(
        ready,
        cache_text_encoder_outputs=["false", "true"],
        shuffle_caption=["true"],
        network_dim=["8", "0"],
    )
    told = [problem["message"] for problem in looked(desk, draft)["problems"]]
    assert any("cache_text_encoder_outputs-true" in one for one in told)
    assert any("network_dim-0" in one for one in told)
    answer = desk.act("sweep", {}, draft)
    assert answer["state"] == "problems"
    assert {one["message"] for one in answer["problems"]} == set(told)
    assert context.queue.items() == []


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({}, "Name an option"),
        ({"network_dim": ["many"]}, "many"),
        ({"seed": [str(n) for n in range(MAX_RUNS + 1)]}, str(MAX_RUNS)),
        ({"no_such": ["1"]}, "no such option"),
    ],
)
def test_lists_that_make_no_runs_are_told(
    desk: Desk, context: Context, ready: Draft, lists: dict[str, list[str]], words: str
) -> None:
    (problem,) = desk.sweep.look(varied(ready, **lists))["problems"]
    assert words in problem["message"]
    assert desk.act("sweep", {}, varied(ready, **lists))["state"] == "problems"
    assert context.queue.items() == []


def test_lists_go_through_the_text_and_back(desk: Desk, context: Context, ready: Draft) -> None:
    draft = varied(ready, network_dim=["8", "16"], learning_rate=["0.0001", "wrong"])
    text = draft_toml(draft, context.workspace)
    assert text.startswith('network_dim = [8, 16]\nlearning_rate = [0.0001, "wrong"]\n\n[')
    assert "learning_rate" not in str(tomllib.loads(text).get("optimizer"))
    again, problems = with_toml(ready, text, context.workspace)
    assert (again.lists, problems) == (draft.lists, ())
    assert draft_toml(again, context.workspace) == text


def test_lists_are_kept_in_a_saved_file_and_opened_again(desk: Desk, ready: Draft) -> None:
    draft = varied(ready, network_dim=["8", "16"])
    saved = desk.act("save", {}, draft)
    opened, _, problems = desk.alter("open_file", {"file": saved["file"]}, ready)
    assert (opened.lists, problems) == (draft.lists, ())


def test_lists_stay_with_the_form_until_it_is_cleared(desk: Desk, ready: Draft) -> None:
    draft, _, _ = desk.alter("sweep", {"lists": {"network_dim": [" 8 ", "", "16"]}}, ready)
    assert draft.lists == {"network_dim": ["8", "16"]}
    changed, _, _ = desk.alter("set", {"values": {"seed": "3"}}, draft)
    assert changed.lists == draft.lists
    preset, _, _ = desk.alter("preset", {"preset": next(iter(desk.presets))}, draft)
    assert preset.lists == draft.lists
    assert desk.alter("clear", {}, draft)[0].lists == {}


def test_other_jobs_have_no_lists(context: Context) -> None:
    sweep = Desk(context, MakeCaptionsJob).sweep
    assert (sweep.is_offered, sweep.options()) == (False, [])
