"""Options of taggers and captioners: names and defaults of sd-scripts, all read, round trips."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sd_scripts.errors import UserError
from sd_scripts.options.command_line import job_to_argv, parse_command_line
from sd_scripts.options.form_values import from_form, to_form
from sd_scripts.options.help_text import help_text
from sd_scripts.options.jobs import Job, MakeCaptionsJob, TagImagesJob
from sd_scripts.options.rules.all_rules import RULES
from sd_scripts.options.schema import OptionSpec, option_specs, specs_by_name
from sd_scripts.options.tag_replacement import read_replacements
from sd_scripts.options.toml_file import job_from_toml, job_to_toml
from sd_scripts.options.types import UnfitError
from sd_scripts.options.values import check_values, job_from_values
from tests.options.captioning_cases import CAPTIONING_CASES
from tests.options.test_no_dead_option import read_options  # noqa: F401  (a fixture)

JOBS: tuple[type[Job], ...] = (TagImagesJob, MakeCaptionsJob)
ALL = [(job, spec) for job in JOBS for spec in option_specs(job)]
ONLY_UNDERSTOOD = {"onnx"}
"""What it asks for is done anyway."""

# sd-scripts 0.10.1, finetune/tag_images_by_wd14_tagger.py and make_captions.py.
TAGGER: dict[str, object] = {
    "force_download": False,
    "batch_size": 1,
    "max_data_loader_n_workers": None,
    "output_path": None,
    "caption_extension": ".txt",
    "thresh": 0.35,
    "general_threshold": None,
    "character_threshold": None,
    "meta_threshold": None,
    "model_threshold": None,
    "copyright_threshold": None,
    "artist_threshold": None,
    "recursive": False,
    "remove_underscore": False,
    "debug": False,
    "undesired_tags": "",
    "frequency_tags": False,
    "onnx": False,
    "append_tags": False,
    "use_rating_tags": False,
    "use_rating_tags_as_last_tag": False,
    "use_quality_tags": False,
    "use_quality_tags_as_last_tag": False,
    "character_tags_first": False,
    "always_first_tags": None,
    "caption_separator": ", ",
    "tag_replacement": None,
    "character_tag_expand": False,
}
CAPTIONER: dict[str, object] = {
    "caption_extension": ".caption",
    "beam_search": False,
    "batch_size": 1,
    "max_data_loader_n_workers": None,
    "num_beams": 1,
    "top_p": 0.9,
    "max_length": 75,
    "min_length": 5,
    "seed": 42,
    "debug": False,
    "recursive": False,
}
OURS = {
    # The model that comes along is meant when none is named; sd-scripts downloads one.
    *("model_dir", "repo_id", "caption_weights"),
    *("only_missing", "device", "tag_order", "append_captions", "prefix", "postfix"),
    *("caption_prompt", "precision", "large_pictures"),
}


@pytest.mark.parametrize(
    ("job", "defaults"), [(TagImagesJob, TAGGER), (MakeCaptionsJob, CAPTIONER)]
)
def test_names_and_defaults_are_those_of_sd_scripts(
    job: type[Job], defaults: dict[str, object]
) -> None:
    found = {spec.name: spec.default for spec in option_specs(job) if spec.name not in OURS}
    assert found.pop("train_data_dir", "none") is None
    extra = set(found) - set(defaults)
    assert extra <= {"output_path"}
    assert {name: found[name] for name in defaults} == defaults


@pytest.mark.parametrize(("job", "spec"), ALL, ids=lambda one: getattr(one, "name", None))
def test_an_option_is_explained_and_read(
    job: type[Job],
    spec: OptionSpec,
    read_options: set[str],  # noqa: F811
) -> None:
    assert len(spec.help) > 15
    assert spec.help[0].isupper() or spec.help.startswith("list:")
    assert spec.help.rstrip().endswith((".", ")"))
    assert spec.label[0].isupper()
    assert len(spec.label) <= 36
    assert (spec.name in read_options) is (spec.name not in ONLY_UNDERSTOOD)
    for option, _ in spec.applies.when:
        assert option in specs_by_name(job)


@pytest.mark.parametrize("job", JOBS)
def test_labels_are_different(job: type[Job]) -> None:
    labels = [spec.label for spec in option_specs(job)]
    assert len(set(labels)) == len(labels)


VALUES: dict[type[Job], dict[str, object]] = {
    TagImagesJob: {
        "train_data_dir": "d",
        "thresh": 0.0,
        "character_threshold": 0,
        "tag_replacement": r"a,b;c\,d,e",
        "caption_separator": " ",
        "device": "cpu",
        "max_data_loader_n_workers": 0,
        "output_path": "x.JSON",
    },
    MakeCaptionsJob: {
        "train_data_dir": "d",
        "beam_search": True,
        "num_beams": 3,
        "min_length": 0,
        "prefix": "my ",
        "caption_extension": "txt",
    },
}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_comes_back_through_every_door(job: type[Job]) -> None:
    made = job_from_values(job, VALUES[job])
    assert job_from_toml(job, job_to_toml(made)) == made
    assert parse_command_line(job, job_to_argv(made), "prog").job == made
    assert job_from_values(job, from_form(job, to_form(made))) == made


def test_the_folder_may_stand_without_its_name() -> None:
    def read(*words: str) -> TagImagesJob:
        return parse_command_line(TagImagesJob, words, "prog").job

    for words in (
        ("my pictures", "--onnx"),
        ("--onnx", "my pictures"),
        ("--thresh", "0.5", "my pictures", "--recursive", "true"),
        ("--train_data_dir", "my pictures"),
    ):
        assert read(*words).pictures.train_data_dir == "my pictures"
    assert not read("d", "--recursive", "false").pictures.recursive
    with pytest.raises(UserError, match="'two' stands alone"):
        read("one", "two")
    assert "[train_data_dir] [--config_file" in help_text(TagImagesJob, "prog")


def test_replacements_are_read_as_pairs() -> None:
    assert read_replacements(r" a , b ;c\,d,e\;f;;x,") == {"a": "b", "c,d": "e;f", "x": ""}
    assert read_replacements("a,b;a,b") == {"a": "b"}
    for text in ("a", "a,b,c", ",b", "a,b;a,c"):
        with pytest.raises(UnfitError):
            read_replacements(text)


@pytest.mark.parametrize(("rule", "job", "values", "options"), CAPTIONING_CASES)
def test_what_does_not_agree_is_told(
    rule: str, job: type[Job], values: Mapping[str, object], options: str
) -> None:
    (problem,) = check_values(job, {"train_data_dir": "d", **values})
    assert (problem.option, problem.severity) == (options, "error")
    assert problem.hint
    assert rule in {one.check.__name__ for one in RULES}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"output_path": "tags.txt"}, "neither in .json nor in .jsonl"),
        ({"repo_id": "../x"}, "cannot be used here"),
        ({"thresh": -1}, "too small"),
        ({"device": "tpu"}, "not a choice"),
        ({"network_dim": 4}, "an option of train_network"),
    ],
)
def test_values_that_cannot_be(values: Mapping[str, object], words: str) -> None:
    (problem,) = check_values(TagImagesJob, {"train_data_dir": "d", **values})
    assert words in problem.message
