"""A plan in words, and what trained files tell about it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from sd_scripts.dataset.metadata import dataset_metadata
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.dataset.summary import cropped_share, is_enlarged, summarise
from tests.dataset.jobs import planned
from tests.dataset.zoo import encoded, put


@pytest.fixture
def plan(tmp_path) -> DatasetPlan:
    def picture(size):
        return encoded(Image.new("RGB", size), "PNG")

    own, reg = tmp_path / "own", tmp_path / "reg"
    put(own / "3_sks cat", "a.png", picture((600, 400)), caption="sks cat, Red")
    put(own / "3_sks cat", "b.png", picture((512, 512)), caption="red, sits")
    put(own / "3_sks cat", "broken.png", b"rubbish")
    put(reg / "1_cat", "r.png", picture((100, 100)))
    return planned(
        tmp_path / "cache", train_data_dir=own, reg_data_dir=reg, enable_bucket=True,
        train_batch_size=4,
    )  # fmt: skip


def test_the_text(plan):
    lines = summarise(plan).text.splitlines()
    assert lines == [
        "Pictures:  2 pictures, shown 6 times a pass; 1 regularisation picture, shown 6 times",
        "           folder 3_sks cat: 2 pictures × 3 repeats, 2 captions (.caption),"
        " words “sks cat”",
        "           folder 1_cat: 1 regularisation picture, shown 6 times, 0 captions (.caption),"
        " words “cat”",
        "Left out:  broken.png is not a picture of a known kind, or its beginning is damaged",
        "Sizes:     2 buckets, 4 batches a pass",
        "           512x512: 9 · 640x384: 3",
        "           2 pictures enlarged to fit",
        "           cropping cuts off 3% of a picture on average, at most 10% (a.png)",
    ]


def test_the_numbers(plan):
    summary = summarise(plan)
    own, reg = summary.folders
    assert (own.num_images, own.num_repeats, own.times_shown, own.num_skipped) == (2, 3, 6, 1)
    assert (reg.is_reg, reg.times_shown, reg.num_missing_captions) == (True, 6, 1)
    assert [
        (bucket.size, bucket.times_shown, bucket.num_batches) for bucket in summary.buckets
    ] == [
        ((512, 512), 9, 3),
        ((640, 384), 3, 1),
    ]
    assert (summary.num_images, summary.num_reg_images, summary.num_enlarged) == (2, 1, 2)
    wide = plan.samples[0]
    assert wide.resized == (640, 427)
    assert cropped_share(wide) == pytest.approx(1 - 384 / 427)
    assert is_enlarged(wide)
    assert not is_enlarged(plan.samples[1])


def test_a_plan_of_nothing(tmp_path):
    summary = summarise(planned(tmp_path))
    assert summary.text == "Pictures:  0 pictures, shown 0 times a pass"
    assert summary.most_cropped is None


def test_metadata_of_folders(plan):
    facts = dataset_metadata(plan, from_file=False)
    assert all(isinstance(value, str) for value in facts.values())
    assert (facts["ss_num_train_images"], facts["ss_num_reg_images"]) == ("6", "6")
    assert facts["ss_num_batches_per_epoch"] == "4"
    assert facts["ss_resolution"] == "(512, 512)"
    assert json.loads(facts["ss_dataset_dirs"]) == {"3_sks cat": {"n_repeats": 3, "img_count": 2}}
    assert json.loads(facts["ss_reg_dataset_dirs"]) == {"1_cat": {"n_repeats": 1, "img_count": 1}}
    assert json.loads(facts["ss_tag_frequency"]) == {
        "3_sks cat": {"sks cat": 1, "red": 2, "sits": 1},
        "1_cat": {"cat": 1},
    }
    info = json.loads(facts["ss_bucket_info"])
    assert info["buckets"] == {
        "0": {"resolution": [512, 512], "count": 9},
        "1": {"resolution": [640, 384], "count": 3},
    }
    assert info["mean_img_ar_error"] == pytest.approx((640 / 384 - 1.5) / 3)
    assert "ss_datasets" not in facts


def test_metadata_of_a_dataset_file(tmp_path):
    for name in ("one", "two"):
        put(tmp_path / name / "cats", "a.png", caption="x")
    file = tmp_path / "set.toml"
    file.write_text(
        f"[[datasets]]\nbatch_size = 2\n"
        f"[[datasets.subsets]]\nimage_dir = '{tmp_path}/one/cats'\nnum_repeats = 2\n"
        f"[[datasets.subsets]]\nimage_dir = '{tmp_path}/two/cats'\nis_reg = true\n"
    )
    facts = dataset_metadata(planned(tmp_path / "cache", dataset_config=file), from_file=True)
    assert json.loads(facts["ss_dataset_dirs"]) == {
        "cats": {"n_repeats": 2, "img_count": 1},
        "cats (2)": {"n_repeats": 1, "img_count": 1},
    }
    (dataset,) = json.loads(facts["ss_datasets"])
    assert dataset["batch_size_per_device"] == 2
    assert (dataset["num_train_images"], dataset["num_reg_images"]) == (2, 2)
    assert dataset["min_bucket_reso"] is None
    own, reg = dataset["subsets"]
    assert (own["image_dir"], own["num_repeats"], own["is_reg"]) == ("cats", 2, False)
    assert reg["is_reg"]
    assert "ss_bucket_info" not in facts
