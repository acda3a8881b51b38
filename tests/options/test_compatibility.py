"""Every option of sd-scripts has a state, and the reasons beside the states are not out of date."""

from __future__ import annotations

import pytest

from sd_scripts.options.compatibility import BETTER, REFUSED, document, standing, trainers
from sd_scripts.options.for_sd_scripts import job_for_sd_scripts
from sd_scripts.options.help_text import OWN_FLAGS
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.later import LATER
from sd_scripts.options.network_table import NETWORKS
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.sd_scripts_table import NETWORK_ARGUMENTS, SCRIPTS_OF, SCRIPTS_OF_JOB
from sd_scripts.options.toml_file import job_from_toml
from tests.options.sd_scripts_options import NAMES
from tests.options.support import job

TEXT = document()


def test_the_table_holds_every_option_of_sd_scripts() -> None:
    assert set(SCRIPTS_OF) == set(NAMES)
    assert set(SCRIPTS_OF_JOB) >= set(trainers())
    assert all(set(scripts) <= set("NXDFST") for scripts in SCRIPTS_OF.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_state_that_is_so(name: str) -> None:
    found = standing(name)
    passed_over = found.state in ("refused", "not needed")
    assert passed_over is not (bool(found.jobs) or name in OWN_FLAGS)
    assert not passed_over or name in LATER
    assert found.words or found.state == "same"
    assert f"| `{name}` |" in TEXT
    for trainer in found.jobs:
        known = specs_by_name(trainers()[trainer])
        assert name in known or found.words.startswith("read and translated")


def test_whatever_is_refused_is_so_for_good_and_says_why() -> None:
    for name in NAMES:
        found = standing(name)
        if found.state == "refused":
            master = LATER[name].master
            assert name in REFUSED or master in REFUSED, name
            assert "yet" not in found.words
    assert set(REFUSED) <= set(LATER)


def test_reasons_are_of_options_that_are_so() -> None:
    assert set(BETTER) <= set(SCRIPTS_OF)
    assert set(REFUSED) <= set(SCRIPTS_OF)
    assert not set(BETTER) & set(REFUSED)


def test_a_job_for_sd_scripts_is_read_back_equal() -> None:
    given = job(
        network_dim=8,
        conv_dim=4,
        text_encoder_lr=(1e-4, 5e-5),
        learning_rate=1e-4,
        optimizer_args=("weight_decay=0.1",),
        lr_scheduler="cosine",
        lr_warmup_steps=0.1,
        resolution=(512, 640),
        max_grad_norm=0.0,
        v2=False,
    )
    found = job_for_sd_scripts(given)
    assert job_from_toml(TrainNetworkJob, found.text) == given
    assert found.left_out == {}
    assert {"v_parameterization", "sdpa", "text_encoder_lr"} <= set(found.notes)
    assert "cache_dir" not in found.text
    assert "resolution" not in found.notes


def test_what_sd_scripts_does_not_know_is_left_out_and_told() -> None:
    given = job(bad_images="error", cache_dir="/cache", seed=3, network_args=("dora_wd=True",))
    found = job_for_sd_scripts(given)
    assert {"bad_images", "cache_dir", "dora_wd=True"} == set(found.left_out)
    assert "beside the pictures" in found.left_out["cache_dir"]
    again = job_from_toml(TrainNetworkJob, found.text)
    assert again == job(seed=3)
    assert "resolution" in found.notes


def test_only_sdxl_scripts_know_cached_captions() -> None:
    given = job(cache_text_encoder_outputs=True, network_train_unet_only=True, xformers=True)
    assert "SDXL" in job_for_sd_scripts(given).notes["cache_text_encoder_outputs"]
    assert "sdpa" not in job_for_sd_scripts(given).notes


def test_arguments_of_sd_scripts_networks_are_known_here() -> None:
    """But for those that do nothing for these families, or that LyCORIS itself no longer reads."""
    understood_by_name = {"rank_dropout"}
    for name, entry in NETWORKS.items():
        own = {argument.name for argument in entry.arguments} | set(entry.carried)
        assert set(NETWORK_ARGUMENTS[name]) - own <= understood_by_name, name
