"""Sweeps: lists of values make runs, named so that one tells them apart, capped with words."""

from __future__ import annotations

import pytest

from kohya_gui.jobs.sweeps import (
    MAX_RUNS,
    Axis,
    lists_toml,
    read_axes,
    take_lists,
    told_together,
    variants,
)
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import Job, MakeCaptionsJob, TrainNetworkJob
from sd_scripts.options.toml_file import read_toml


def test_lists_of_options_with_one_value_become_axes() -> None:
    values: dict[str, object] = {
        "network_dim": [8, 16, 16],
        "resolution": [512, 768],
        "text_encoder_lr": [1e-4, 5e-5],
        "network_args": ["rank_dropout=0.1"],
        "seed": 7,
        "unknown": [1],
        "learning_rate": [],
    }
    plain, axes = take_lists(TrainNetworkJob, values)
    assert axes == (Axis("network_dim", (8, 16)),)
    assert plain == {**values, "network_dim": 8}


def test_every_combination_is_a_run_with_a_name_of_its_own() -> None:
    axes = (Axis("network_dim", (8, 16)), Axis("vae", ("/m/a.pt", "/m/b.pt")))
    found = variants("my cat", axes)
    assert [one.name for one in found] == [
        "my cat-network_dim-8-vae-a",
        "my cat-network_dim-8-vae-b",
        "my cat-network_dim-16-vae-a",
        "my cat-network_dim-16-vae-b",
    ]
    assert found[3].changes == {
        "output_name": "my cat-network_dim-16-vae-b",
        "network_dim": 16,
        "vae": "/m/b.pt",
    }


def test_names_stay_apart_where_values_look_alike_or_are_long() -> None:
    named = (Axis("output_name", ("a", "b")), Axis("network_dim", (4, 8)))
    files = [one.changes["output_name"] for one in variants("cat", named)]
    assert len(set(files)) == 4, "no run replaces another one's file"
    alike = variants("a", (Axis("vae", ("/one/m.pt", "/two/m.pt")),))
    assert len({one.name for one in alike}) == 2
    long = variants("a", (Axis("metadata_title", ("x" * 99, "y" * 99)),))
    assert [len(one.name) < 81 for one in long] == [True, True]
    assert long[0].name != long[1].name


def test_too_many_are_refused_with_their_number() -> None:
    axes = tuple(Axis(name, tuple(range(4))) for name in ("seed", "network_dim", "clip_skip"))
    with pytest.raises(UserError, match=rf"64 runs \(4 × 4 × 4\); at most {MAX_RUNS}"):
        variants("a", axes)


def test_what_was_typed_is_read_as_the_form_would() -> None:
    axes, problems = read_axes(
        TrainNetworkJob, {"network_dim": ["8", "16", "8"], "cache_latents": ["true"]}
    )
    assert (axes, problems) == (
        (Axis("network_dim", (8, 16)), Axis("cache_latents", (True,))),
        [],
    )
    _, problems = read_axes(
        TrainNetworkJob, {"network_dim": ["many"], "no_such": ["1"], "network_args": ["a=1"]}
    )
    assert {one.option for one in problems} == {"network_dim", "no_such", "network_args"}


def test_lists_survive_their_text() -> None:
    wanted = {
        "network_dim": ["8", "16"],
        "resolution": ["512,512", "512,768"],
        "conv_dim": ["4", "8"],
        "optimizer_type": ["AdamW", "Lion"],
        "text_encoder_lr": ["1e-05", "5e-05"],
        "train_data_dir": ["/one, two", "/three"],
    }
    plain, axes = take_lists(TrainNetworkJob, read_toml(lists_toml(TrainNetworkJob, wanted)))
    read = {"network_dim": [8, 16], "conv_dim": [4, 8], "text_encoder_lr": [[1e-5], [5e-5]]}
    assert {axis.option: list(axis.values) for axis in axes} == wanted | read
    assert lists_toml(TrainNetworkJob, {"network_dim": ["eight"]}) == 'network_dim = ["eight"]\n'
    assert plain["resolution"] == "512,512"


def test_a_problem_of_all_runs_is_told_once_and_others_with_their_runs() -> None:
    common, own = Problem("no model"), Problem("too high", "seed")
    found = {name: [common, own] if name != "a" else [common] for name in "abcdef"}
    assert told_together(found) == [common, Problem("b, c, d (+ 2): too high", "seed")]


@pytest.mark.parametrize("job_type", [MakeCaptionsJob])
def test_lists_make_runs_of_trainings_alone(job_type: type[Job]) -> None:
    assert take_lists(job_type, {"batch_size": [1, 2]}) == ({"batch_size": [1, 2]}, ())
