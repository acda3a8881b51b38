"""The declarations themselves: names and defaults of sd-scripts, helps, tiers, when they apply."""

from __future__ import annotations

import pytest

from sd_scripts.options.jobs import JOBS, TrainNetworkJob
from sd_scripts.options.later import LATER
from sd_scripts.options.old_names import old_names
from sd_scripts.options.schema import OptionSpec, group_titles, group_types, option_specs
from sd_scripts.options.toml_file import all_specs
from sd_scripts.options.words import FAMILY_NAMES, applies_words
from tests.options.sd_scripts_options import DEFAULTS, NAMES, OURS
from tests.options.support import SPECS


def test_names_and_defaults_are_those_of_sd_scripts() -> None:
    ours = {name: spec.default for name, spec in SPECS.items() if name not in OURS}
    assert ours == DEFAULTS


def test_every_name_of_sd_scripts_is_known() -> None:
    known = {*all_specs(), *LATER, *old_names(SPECS), "config_file"}
    assert set(NAMES) - known == set()


@pytest.mark.parametrize("job_type", JOBS.values())
def test_group_titles_are_in_the_order_of_the_groups(job_type: type[TrainNetworkJob]) -> None:
    titles = group_titles(job_type)
    assert list(titles) == list(group_types(job_type))
    assert len(set(titles.values())) == len(titles)
    assert list(dict.fromkeys(spec.group for spec in option_specs(job_type))) == list(titles)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_an_option_is_explained(spec: OptionSpec) -> None:
    assert len(spec.help) > 15
    assert spec.help[0].isupper()
    assert spec.help.rstrip().endswith((".", ")"))
    assert spec.label[0].isupper()
    assert "_" not in spec.label
    assert len(spec.label) <= 36


def test_labels_are_different() -> None:
    labels = [spec.label for spec in SPECS.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_what_an_option_refers_to_exists(spec: OptionSpec) -> None:
    assert set(spec.applies.families) <= set(FAMILY_NAMES)
    for option, values in spec.applies.when:
        other = SPECS[option]
        if other.choices:
            assert {str(value) for value in values} <= set(other.choices)
    if spec.carrier:
        assert SPECS[spec.carrier].kind == "key_values"


def test_when_an_option_applies_is_said_in_words() -> None:
    assert applies_words(SPECS["huber_c"]) == "Only with loss_type huber or smooth_l1."
    assert applies_words(SPECS["clip_skip"]) == "Only for SD 1.x or SD 2.x."
    assert applies_words(SPECS["min_bucket_reso"]) == "Only with enable_bucket."
    assert applies_words(SPECS["conv_alpha"]) == "Only when conv_dim is set."
    assert applies_words(SPECS["network_dim"]) is None


def test_basic_options_are_few() -> None:
    basic = [spec.name for spec in SPECS.values() if spec.tier == "basic"]
    assert 15 <= len(basic) <= 40


def test_specs_tell_bounds_and_kinds() -> None:
    dim = SPECS["network_dim"]
    assert (dim.kind, dim.minimum, dim.optional, dim.required) == ("int", 1, True, False)
    gamma = SPECS["min_snr_gamma"]
    assert (gamma.minimum, gamma.exclusive_minimum) == (0, True)
    rates = SPECS["text_encoder_lr"]
    assert (rates.kind, rates.is_list, rates.minimum) == ("numbers", True, 0)
    assert SPECS["max_token_length"].choices == ("150", "225")
    assert SPECS["pretrained_model_name_or_path"].required
    assert SPECS["resolution"].kind == "size"
    assert SPECS["lr_warmup_steps"].kind == "steps"
    assert SPECS["output_dir"].path == "output_folder"
