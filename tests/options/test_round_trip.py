"""TOML, command line, form and flat values each give the same job back, whatever is set."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sd_scripts.options.coerce import coerce
from sd_scripts.options.command_line import job_to_argv, parse_command_line
from sd_scripts.options.form_values import default_form, from_form, to_form
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.schema import OptionSpec, option_specs
from sd_scripts.options.toml_file import job_from_toml, job_to_toml
from sd_scripts.options.values import job_from_values, values_of
from tests.options.support import job, jobs, kept_values, mended

_often = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@_often
@given(jobs())
def test_every_door_gives_the_job_back(made: TrainNetworkJob) -> None:
    """All doors for each job that is drawn: drawing one takes longer than they do."""
    text, form = job_to_toml(made), to_form(made)
    typed = {
        name: value if isinstance(value, bool) or value is None else str(value)
        for name, value in form.items()
    }
    doors = {
        "values": job_from_values(TrainNetworkJob, values_of(made)),
        "changed values": job_from_values(TrainNetworkJob, values_of(made, only_changed=True)),
        "toml": job_from_toml(TrainNetworkJob, text),
        "changed toml": job_from_toml(TrainNetworkJob, job_to_toml(made, only_changed=True)),
        "arguments": parse_command_line(TrainNetworkJob, job_to_argv(made), "prog").job,
        "form": job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, form)),
        "form of texts": job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, typed)),
    }
    for door, again in doors.items():
        assert again == made, door
    assert job_to_toml(doors["toml"]) == text, "spelled the same twice"


@pytest.mark.parametrize("spec", option_specs(TrainNetworkJob), ids=lambda spec: spec.name)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_each_option_by_itself_comes_back_through_every_door(
    spec: OptionSpec, data: st.DataObject
) -> None:
    kept = data.draw(kept_values(spec))
    made = mended({}, kept)
    value = values_of(made)[spec.name]
    wanted = coerce(spec, kept[spec.name])
    assert value == wanted
    assert type(value) is type(wanted)
    assert job_from_toml(TrainNetworkJob, job_to_toml(made, only_changed=True)) == made
    assert parse_command_line(TrainNetworkJob, job_to_argv(made), "prog").job == made
    assert job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, to_form(made))) == made


def test_an_untouched_form_is_a_job_of_defaults() -> None:
    raw = default_form(TrainNetworkJob) | {
        "pretrained_model_name_or_path": "model.safetensors",
        "train_data_dir": "pictures",
    }
    assert job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, raw)) == job()


_ZEROS = {
    "learning_rate": 0.0,
    "unet_lr": 1e-4,
    "text_encoder_lr": (0.0,),
    "network_alpha": 0.0,
    "network_dropout": 0.0,
    "max_grad_norm": 0.0,
    "noise_offset": 0.0,
    "prior_loss_weight": 0.0,
    "keep_tokens": 0,
    "seed": 0,
    "min_timestep": 0,
    "lr_warmup_steps": 0,
    "max_data_loader_n_workers": 0,
    "v2": False,
    "v_parameterization": False,
    "token_warmup_min": 0,
}


@pytest.mark.parametrize("only_changed", [False, True])
def test_zero_and_false_survive_every_door(only_changed: bool) -> None:
    made = job(**_ZEROS)
    doors = {
        "toml": job_from_toml(TrainNetworkJob, job_to_toml(made, only_changed=only_changed)),
        "argv": parse_command_line(TrainNetworkJob, job_to_argv(made), "prog").job,
        "form": job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, to_form(made))),
    }
    for door, again in doors.items():
        values = values_of(again)
        for name, zero in _ZEROS.items():
            assert values[name] == zero, (door, name)
            assert type(values[name]) is type(zero), (door, name)


def test_every_option_is_in_the_form_and_in_the_file() -> None:
    names = {spec.name for spec in option_specs(TrainNetworkJob)}
    assert set(to_form(job())) == names
    written = tomllib.loads(job_to_toml(job()))
    in_file = {name for section in written.values() for name in section}
    without_value = {name for name, value in values_of(job()).items() if value is None}
    assert in_file == names - without_value


def test_a_job_of_options_unlike_their_default_is_short() -> None:
    text = job_to_toml(job(network_dim=16), only_changed=True)
    assert tomllib.loads(text) == {
        "model": {"pretrained_model_name_or_path": "model.safetensors"},
        "data": {"train_data_dir": "pictures"},
        "network": {"network_dim": 16},
    }
