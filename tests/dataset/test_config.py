"""Dataset files: fallbacks, and every mistake told at once in words that help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.dataset.config import Reading, read_dataset_config
from sd_scripts.dataset.config_keys import LATER_KEYS, LEVELS
from sd_scripts.dataset.settings import Values, native_resolution
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.validation import ValidationOptions

MINIMAL = """
[[datasets]]
[[datasets.subsets]]
image_dir = '/pictures'
"""


def read(tmp_path: Path, text: str | bytes, *, name: str = "set.toml", **values) -> Reading:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_dataset_config(path, Values(**values), "sd1")


def messages(reading: Reading) -> list[str]:
    assert all(problem.option == "dataset_config" for problem in reading.problems)
    return [problem.message for problem in reading.problems]


def mistake(reading: Reading) -> tuple[str, str]:
    (problem,) = reading.problems
    assert problem.severity == "error"
    return problem.message, problem.hint or ""


def subset_of(reading: Reading):
    assert reading.problems == []
    return reading.datasets[0].subsets[0]


def test_the_least_there_can_be(tmp_path):
    reading = read(tmp_path, MINIMAL, num_repeats=3, caption_extension=".txt", batch_size=2)
    subset = subset_of(reading)
    assert (subset.image_dir, subset.num_repeats) == (Path("/pictures"), 3)
    assert subset.caption_extension == ".txt"
    assert (reading.datasets[0].batch_size, reading.datasets[0].buckets.resolution) == (
        2,
        (512, 512),
    )


def test_every_level_wins_over_the_next(tmp_path):
    text = """
    [general]
    keep_tokens = 1
    num_repeats = 1
    flip_aug = true
    batch_size = 1
    [[datasets]]
    keep_tokens = 2
    num_repeats = 2
    batch_size = 2
    resolution = [640, 512]
    [[datasets.subsets]]
    image_dir = '/a'
    num_repeats = 3
    [[datasets.subsets]]
    image_dir = '/b'
    flip_aug = false
    is_reg = true
    [[datasets]]
    [[datasets.subsets]]
    image_dir = '/c'
    class_tokens = 'dog'
    """
    reading = read(tmp_path, text, keep_tokens=9, random_crop=True, batch_size=9)
    assert reading.problems == []
    first, second = reading.datasets
    a, b = first.subsets
    (c,) = second.subsets
    assert [one.num_repeats for one in (a, b, c)] == [3, 2, 1]
    assert [one.rules.keep_tokens for one in (a, b, c)] == [2, 2, 1]
    assert [one.flip_aug for one in (a, b, c)] == [True, False, True]
    assert [one.random_crop for one in (a, b, c)] == [True, True, True]
    assert [one.is_reg for one in (a, b, c)] == [False, True, False]
    assert [one.class_tokens for one in (a, b, c)] == [None, None, "dog"]
    assert (first.batch_size, second.batch_size) == (2, 1)
    assert (first.buckets.resolution, second.buckets.resolution) == ((640, 512), (512, 512))


def test_false_and_zero_are_values(tmp_path):
    text = "[general]\nshuffle_caption = false\nkeep_tokens = 0\n" + MINIMAL
    subset = subset_of(read(tmp_path, text, shuffle_caption=True, keep_tokens=5))
    assert (subset.rules.shuffle_caption, subset.rules.keep_tokens) == (False, 0)


def test_json_says_the_same_and_null_says_nothing(tmp_path):
    tree = {
        "general": {"resolution": 768, "num_repeats": None},
        "datasets": [{"subsets": [{"image_dir": "/a", "keep_tokens": None}]}],
    }
    reading = read(tmp_path, json.dumps(tree), name="set.json", num_repeats=4, keep_tokens=2)
    subset = subset_of(reading)
    assert (subset.num_repeats, subset.rules.keep_tokens) == (4, 2)
    assert reading.datasets[0].buckets.resolution == (768, 768)


VALUES = {
    "batch_size": 3,
    "resolution": [512, 768],
    "enable_bucket": True,
    "min_bucket_reso": 320,
    "max_bucket_reso": 1280,
    "bucket_reso_steps": 32,
    "bucket_no_upscale": True,
    "validation_split": 0.25,
    "validation_seed": 9,
    "resize_interpolation": "box",
    "num_repeats": 5,
    "shuffle_caption": True,
    "flip_aug": True,
    "random_crop": True,
    "color_aug": True,
    "face_crop_aug_range": [2.0, 4.0],
    "enable_wildcard": True,
    "keep_tokens": 2,
    "keep_tokens_separator": "|||",
    "secondary_separator": ";;;",
    "caption_separator": ".",
    "caption_prefix": "pre",
    "caption_suffix": "post",
    "caption_extension": ".txt",
    "class_tokens": "cat",
    "token_warmup_min": 3,
    "token_warmup_step": 0.5,
    "caption_dropout_rate": 0.25,
    "caption_tag_dropout_rate": 1,
    "caption_dropout_every_n_epochs": 4,
}


@pytest.mark.parametrize("key", list(LEVELS["[general]"]))
def test_every_key_is_heard_on_every_level_it_may_stand_on(tmp_path, key):
    for level in LEVELS:
        if key not in LEVELS[level]:
            continue
        tree: dict = {"general": {}, "datasets": [{"subsets": [{"image_dir": "/a"}]}]}
        place = {
            "[general]": tree["general"],
            "[[datasets]]": tree["datasets"][0],
            "[[datasets.subsets]]": tree["datasets"][0]["subsets"][0],
        }[level]
        place[key] = VALUES[key]
        reading = read(tmp_path, json.dumps(tree), name="set.json")
        subset = subset_of(reading)
        facts = {**vars(reading.datasets[0]), **vars(reading.datasets[0].buckets)}
        facts |= {**vars(subset), **vars(subset.rules)}
        facts["min_bucket_reso"], facts["max_bucket_reso"] = facts["min_size"], facts["max_size"]
        facts["bucket_reso_steps"], facts["bucket_no_upscale"] = facts["step"], facts["no_upscale"]
        value = VALUES[key]
        expected = tuple(value) if isinstance(value, list) else value
        assert facts[key] == expected, level


OTHERWISE = {"resize_interpolation": "area", "face_crop_aug_range": "2.0,4.0"}
"""Values that options write in another way."""


def test_values_of_options_reach_every_setting():
    masks = {"masked_loss": True, "alpha_mask": True}
    data = DataOptions(
        conditioning_data_dir="/masks",
        **masks,
        **{
            {"batch_size": "train_batch_size", "num_repeats": "dataset_repeats"}.get(key, key): (
                OTHERWISE.get(key, value)
            )
            for key, value in VALUES.items()
            if key not in CaptionOptions.model_fields
            and key not in ("class_tokens", *ValidationOptions.model_fields)
        },
    )
    validation = ValidationOptions(validation_split=0.25, validation_seed=9)
    caption = CaptionOptions(
        **{key: value for key, value in VALUES.items() if key in CaptionOptions.model_fields}
    )
    pairs = {"resolution": (512, 768), "face_crop_aug_range": (2.0, 4.0)}
    expected = {**VALUES, "resize_interpolation": "area", **pairs, **masks, "mask_dir": "/masks"}
    assert vars(Values.of_options(data, caption, validation)) == {**expected, "class_tokens": None}


@pytest.mark.parametrize(
    ("family", "side"), [("sd1", 512), ("sd2", 768), ("sdxl", 1024), (None, 512)]
)
def test_without_a_resolution_it_is_the_familys(family, side):
    assert Values().buckets(family).resolution == (side, side)
    assert Values(resolution=(640, 320)).buckets(family).resolution == (640, 320)


@pytest.mark.parametrize(
    ("line", "part", "hint"),
    [
        ("keep_token = 1", "keep_token is unknown", "keep_tokens?"),
        ("repeats = 1", "repeats is unknown", "num_repeats?"),
        ("train_batch_size = 1", "train_batch_size is unknown", "batch_size?"),
        ("qqq = 1", "qqq is unknown", "known here"),
        ("batch_size = 1", "batch_size can't stand in [[datasets.subsets]]", "[[datasets]]"),
        ("keep_tokens = '1'", "keep_tokens must be a whole number", ""),
        ("keep_tokens = -1", "keep_tokens must be a whole number, 0 or more", ""),
        ("keep_tokens = true", "keep_tokens must be a whole number", ""),
        ("flip_aug = 1", "flip_aug must be true or false", ""),
        ("caption_dropout_rate = 1.5", "must be a number, from 0 to 1", ""),
        ("caption_dropout_rate = nan", "must be a number, from 0 to 1", ""),
        ("token_warmup_step = -1", "must be a number, 0 or more", ""),
        ("caption_separator = ''", "must be text in quotes, not empty", ""),
        ("class_tokens = 5", "class_tokens must be text in quotes", ""),
        ("resize_interpolation = 'best'", "must be one of lanczos", ""),
    ],
)
def test_mistakes_in_a_subset(tmp_path, line, part, hint):
    message, told = mistake(read(tmp_path, MINIMAL + line))
    assert part in message
    assert "set.toml, subset 1 of dataset 1" in message
    assert hint in told


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("'512,512'", "two of them as [width, height]"),
        ("[512]", "two of them"),
        ("[512, 512, 3]", "two of them"),
        ("[512, '512']", "two of them"),
        ("true", "two of them"),
        ("512.5", "two of them"),
        ("4", "from 8 to 16384"),
        ("[512, 100000]", "from 8 to 16384"),
    ],
)
def test_mistakes_in_a_resolution(tmp_path, value, part):
    message, _ = mistake(read(tmp_path, f"[general]\nresolution = {value}\n" + MINIMAL))
    assert "resolution must be" in message
    assert part in message
    assert "[general]" in message


def test_every_mistake_is_told_at_once(tmp_path):
    text = """
    [general]
    shufle_caption = true
    [[datasets]]
    batch_size = 0
    image_dir = '/a'
    [[datasets.subsets]]
    keep_tokens = 'one'
    [[datasets.subsets]]
    image_dir = 5
    [extra]
    """
    told = messages(read(tmp_path, text))
    parts = (
        "extra can't stand at the top",
        "shufle_caption is unknown",
        "batch_size must be",
        "image_dir can't stand in [[datasets]]",
        "keep_tokens must be",
        "subset 1 of dataset 1 has no image_dir",
        "image_dir must be text",
    )
    assert len(told) == len(parts)
    for part in parts:
        assert any(part in message for message in told), part


OFF = {key: values[0] for key, values in LATER_KEYS.items()}
ON = {
    "network_multiplier": 0.5,
    "custom_attributes": {"diff_output_preservation": True},
}


@pytest.mark.parametrize("key", LATER_KEYS)
def test_keys_of_later_work_are_refused_by_name_unless_off(tmp_path, key):
    def with_value(value):
        tree = {"datasets": [{"subsets": [{"image_dir": "/a", key: value}]}]}
        return read(tmp_path, json.dumps(tree), name="set.json")

    assert with_value(OFF[key]).problems == []
    assert with_value(None).problems == []
    message, hint = mistake(with_value(ON[key]))
    assert key in message
    assert "does not have it" in message
    assert key in hint


def test_keys_that_do_not_matter_are_no_mistake(tmp_path):
    text = "[general]\ncache_info = true\n" + MINIMAL
    assert read(tmp_path, text).problems == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "has no datasets"),
        ("[general]\nflip_aug = true", "has no datasets"),
        ("[[datasets]]\nbatch_size = 1", "dataset 1 has no subsets"),
        ("[datasets]\nbatch_size = 1", "datasets must be a list of tables"),
        ("general = 5\n" + MINIMAL, "general must be a table"),
        ("[[datasets]]\nsubsets = 5", "subsets must be a list"),
        ("pretrained_model_name_or_path = 'm'\n" + MINIMAL, "can't stand at the top"),
    ],
)
def test_mistakes_in_the_form(tmp_path, text, part):
    message, hint = mistake(read(tmp_path, text))
    assert part in message
    assert hint


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.toml", b"image_dir = C:\\x", "not valid TOML"),
        ("a.toml", b".".join([b"a"] * 60_000) + b" = 1", "not valid TOML: a number or a name is"),
        ("a.json", b"[" * 100_000, "not valid JSON: a number or a name is too long, or brackets"),
        ("a.toml", b"x = '\xff'", "not UTF-8"),
        ("a.json", b"{'a': 1}", "not valid JSON"),
        ("a.json", b"[]", "is a list"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, data, part):
    message, hint = mistake(read(tmp_path, data, name=name))
    assert part in message
    assert hint


def test_a_file_that_is_not_there(tmp_path):
    reading = read_dataset_config(tmp_path / "none.toml", Values(), None)
    assert "can't be read" in mistake(reading)[0]


def test_a_byte_order_mark_is_fine(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode()).problems == []


def test_a_folder_counts_once_and_without_repeats_not_at_all(tmp_path):
    (tmp_path / "a").mkdir()
    text = f"""
    [[datasets]]
    [[datasets.subsets]]
    image_dir = '{tmp_path}/a'
    num_repeats = 2
    [[datasets.subsets]]
    image_dir = '{tmp_path}/../{tmp_path.name}/a'
    [[datasets.subsets]]
    image_dir = '/b'
    num_repeats = 0
    """
    reading = read(tmp_path, text)
    assert [problem.severity for problem in reading.problems] == ["warning", "warning"]
    assert "is there already" in reading.problems[0].message
    assert "num_repeats is 0" in reading.problems[1].message
    assert [subset.num_repeats for subset in reading.datasets[0].subsets] == [2]


def test_relative_folders_are_of_the_working_folder_or_beside_the_file(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "file" / "beside").mkdir(parents=True)
    (tmp_path / "file" / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    text = MINIMAL.replace("/pictures", "here") + "[[datasets.subsets]]\nimage_dir='beside'\n"
    reading = read(tmp_path / "file", text)
    assert reading.problems == []
    folders = [subset.image_dir for subset in reading.datasets[0].subsets]
    assert folders == [Path("here"), tmp_path / "file" / "beside"]


@pytest.mark.parametrize(
    ("family", "prediction_type", "side"),
    [("sd2", "epsilon", 512), ("sd2", "v_prediction", 768), ("sd2", None, 768), (None, None, 512)],
)
def test_native_resolution_follows_what_the_model_predicts(
    family: str | None, prediction_type: str | None, side: int
) -> None:
    assert native_resolution(family, prediction_type) == (side, side)
