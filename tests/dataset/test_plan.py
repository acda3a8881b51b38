"""From folders on a disk to a plan: what is trained, and everything that is wrong, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.dataset import scan as scan_module
from sd_scripts.dataset.index import Known, PictureIndex, Stamp
from sd_scripts.dataset.pictures import PictureProblem, probe
from tests.dataset.jobs import only, planned, told
from tests.dataset.zoo import animated, encoded, huge_png, noisy, put


def picture(size: tuple[int, int], kind: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", size, "grey"), kind)


@pytest.fixture
def cats(tmp_path):
    """Two captioned pictures, one wide and one square, in a folder with three repeats."""
    put(tmp_path / "train" / "3_cat", "a.png", picture((200, 100)), caption="a cat\nmore")
    put(tmp_path / "train" / "3_cat", "b.png", picture((128, 128)), caption="b cat")
    return tmp_path / "train"


def test_a_folder_becomes_a_plan(cache, cats):
    plan = planned(
        cache, train_data_dir=cats, resolution=256, enable_bucket=True, train_batch_size=2,
        flip_aug=True, shuffle_caption=True,
    )  # fmt: skip
    assert plan.errors == []
    assert [sample.path.name for sample in plan.samples] == ["a.png", "b.png"]
    wide, square = plan.samples
    assert (wide.id, wide.dataset, wide.subset) == (0, 0, 0)
    assert (wide.image_size, wide.bucket, wide.resized) == ((200, 100), (256, 256), (512, 256))
    assert (square.image_size, square.bucket) == ((128, 128), (256, 256))
    assert (wide.caption, square.caption) == ("a cat", "b cat")
    assert (wide.num_repeats, wide.is_reg, wide.flip, wide.random_crop) == (3, False, True, False)
    assert wide.rules.shuffle_caption
    assert (plan.num_train_images, plan.num_reg_images) == (6, 0)
    assert plan.datasets[0].bucket_counts == {(256, 256): 6}
    assert plan.num_batches_per_epoch == 3


def test_plans_are_the_same_whatever_the_disk_says_first(cache, tmp_path):
    for name in ("c", "a", "b"):
        put(tmp_path / "train" / "2_x", f"{name}.png", picture((64, 64)))
        put(tmp_path / "train" / "1_y", f"{name}.png", picture((64, 64)))
    plan = planned(cache, train_data_dir=tmp_path / "train")
    names = [f"{sample.path.parent.name}/{sample.path.name}" for sample in plan.samples]
    assert names == [f"{folder}/{name}.png" for folder in ("1_y", "2_x") for name in "abc"]
    assert [sample.id for sample in plan.samples] == list(range(6))
    assert planned(cache, train_data_dir=tmp_path / "train") == plan


def test_a_plain_folder_and_its_note(cache, tmp_path):
    put(tmp_path / "photos", "a.png", caption="x")
    plan = planned(cache, train_data_dir=tmp_path / "photos", dataset_repeats=5)
    assert plan.problems == ()
    assert plan.samples[0].num_repeats == 5
    assert len(plan.notes) == 1


class TestDatasetFile:
    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "set.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def test_two_datasets_with_sizes_and_batches_of_their_own(self, cache, cats, tmp_path):
        file = self.write(
            tmp_path,
            f"""
            [general]
            caption_extension = '.caption'
            [[datasets]]
            resolution = 256
            batch_size = 2
            [[datasets.subsets]]
            image_dir = '{cats}/3_cat'
            [[datasets]]
            resolution = [128, 64]
            [[datasets.subsets]]
            image_dir = '{cats}/3_cat'
            num_repeats = 4
            """,
        )
        plan = planned(cache, dataset_config=file, train_data_dir=cats, dataset_repeats=2)
        assert plan.errors == []
        assert only(told(plan, "warning", "train_data_dir")).option == (
            "train_data_dir, dataset_config"
        )
        assert [(s.dataset, s.bucket, s.num_repeats) for s in plan.samples] == [
            (0, (256, 256), 2),
            (0, (256, 256), 2),
            (1, (128, 64), 4),
            (1, (128, 64), 4),
        ]
        assert [dataset.num_batches for dataset in plan.datasets] == [2, 8]

    def test_a_missing_folder_is_told_with_the_others(self, cache, tmp_path):
        file = self.write(
            tmp_path,
            "[[datasets]]\nbatch_sice = 1\n[[datasets.subsets]]\nimage_dir = '/none/such'\n",
        )
        plan = planned(cache, dataset_config=file)
        assert len(told(plan, "error", "dataset_config")) == 2
        assert plan.samples == ()

    def test_what_a_cache_forbids_is_refused_where_it_is_set(self, cache, cats, tmp_path):
        file = self.write(
            tmp_path,
            f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{cats}/3_cat'\n"
            "random_crop = true\nshuffle_caption = true\n",
        )
        plan = planned(
            cache, dataset_config=file, cache_latents=True, cache_text_encoder_outputs=True
        )
        errors = told(plan, "error")
        assert {error.option for error in errors} == {
            "random_crop, cache_latents",
            "cache_text_encoder_outputs",
        }
        assert all("subset 1 of dataset 1" in error.message for error in errors)


class TestRegularisation:
    def plan(self, cache, tmp_path, num_own, num_reg, **options):
        for number in range(num_own):
            put(tmp_path / "own" / "2_cat", f"{number}.png", picture((64, 64)))
        for number in range(num_reg):
            put(tmp_path / "reg" / "1_animal", f"{number}.png", picture((64, 64)))
        return planned(
            cache, train_data_dir=tmp_path / "own", reg_data_dir=tmp_path / "reg", **options
        )

    def test_few_are_shown_more_often(self, cache, tmp_path):
        plan = self.plan(cache, tmp_path, 4, 3)
        assert [sample.num_repeats for sample in plan.samples if sample.is_reg] == [3, 3, 2]
        assert (plan.num_train_images, plan.num_reg_images) == (8, 8)
        assert plan.problems == ()

    def test_many_are_not_all_used_and_that_is_told(self, cache, tmp_path):
        plan = self.plan(cache, tmp_path, 2, 9)
        assert (plan.num_train_images, plan.num_reg_images) == (4, 4)
        assert len(plan.samples) == 6
        assert [sample.id for sample in plan.samples] == list(range(6))
        assert "5 of 9" in only(told(plan, "warning", "reg_data_dir")).message
        assert plan.datasets[0].subsets[1].num_unused == 5

    def test_a_folder_without_any_is_an_error(self, cache, tmp_path, cats):
        (tmp_path / "reg").mkdir()
        plan = planned(cache, train_data_dir=cats, reg_data_dir=tmp_path / "reg")
        assert "is empty" in only(told(plan, "error", "reg_data_dir")).message

    def test_only_regularisation_is_nothing_to_train(self, cache, tmp_path, cats):
        file = tmp_path / "set.toml"
        file.write_text(
            f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{cats}/3_cat'\nis_reg = true\n"
        )
        plan = planned(cache, dataset_config=file)
        assert "only regularisation" in only(told(plan, "error")).message
        assert plan.samples == ()


class TestNothingGiven:
    def test_no_folder(self, cache):
        assert only(told(planned(cache), "error", "train_data_dir")).hint

    def test_a_named_folder_without_pictures(self, cache, tmp_path):
        put(tmp_path / "10_cat" / "inner", "a.png")
        error = only(told(planned(cache, train_data_dir=tmp_path), "error", "train_data_dir"))
        assert "holds no pictures" in error.message
        assert "inner" in (error.hint or "")

    def test_only_unreadable_kinds(self, cache, tmp_path):
        put(tmp_path / "10_cat", "a.heic", b"x")
        error = only(told(planned(cache, train_data_dir=tmp_path), "error", "train_data_dir"))
        assert "a.heic" in error.message


class TestBadPictures:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "photos"
        put(folder, "good.png", caption="x")
        put(folder, "cut.jpg", encoded(noisy((200, 200)), "JPEG")[:3000])
        put(folder, "text.png", b"no picture")
        put(folder, "moving.webp", animated("WEBP"))
        put(folder, "bomb.png", huge_png(60_000, 60_000))
        (folder / "zero.png").touch()
        (folder / "link.png").symlink_to(folder / "nowhere")
        return folder

    NAMES = ("cut.jpg", "text.png", "moving.webp", "bomb.png", "zero.png", "link.png")

    def test_they_are_left_out_by_name(self, cache, folder):
        plan = planned(cache, train_data_dir=folder)
        assert plan.errors == []
        assert [sample.path.name for sample in plan.samples] == ["good.png"]
        warning = only(told(plan, "warning", "bad_images"))
        assert all(name in warning.message for name in self.NAMES)
        assert "is animated" in warning.message
        assert {skipped.path.name for skipped in plan.skipped} == set(self.NAMES)
        again = planned(cache, train_data_dir=folder)
        assert again == plan

    def test_or_refused_by_name(self, cache, folder):
        plan = planned(cache, train_data_dir=folder, bad_images="error")
        error = only(told(plan, "error", "bad_images"))
        assert all(name in error.message for name in self.NAMES)
        assert "skip" in (error.hint or "")

    def test_when_none_is_left_that_is_an_error(self, cache, folder):
        (folder / "good.png").unlink()
        plan = planned(cache, train_data_dir=folder)
        assert "no picture" in only(told(plan, "error", "train_data_dir")).message

    def test_what_was_found_broken_while_decoding_is_left_out_next_time(self, cache, folder):
        path = folder / "good.png"
        put(folder, "other.png", caption="x")
        known = Known(None, "is damaged (inside)", "copy it again")
        PictureIndex(cache).remember(folder, {path.name: (Stamp.of(path), known)})
        plan = planned(cache, train_data_dir=folder)
        assert [sample.path.name for sample in plan.samples] == ["other.png"]
        assert "good.png is damaged (inside)" in only(told(plan, "warning", "bad_images")).message

    def test_pictures_that_fit_into_no_bucket(self, cache, tmp_path):
        folder = tmp_path / "photos"
        put(folder, "good.png", picture((100, 100)), caption="x")
        put(folder, "tiny.png", picture((40, 300)), caption="x")
        small = {"enable_bucket": True, "bucket_no_upscale": True, "resolution": 512}
        plan = planned(cache, train_data_dir=folder, **small)
        assert [sample.path.name for sample in plan.samples] == ["good.png"]
        assert "tiny.png is too small (40x300)" in only(told(plan, "warning")).message
        put(folder, "thread.png", picture((1, 900)), caption="x")
        plan = planned(cache, train_data_dir=folder, resolution=512, bad_images="error")
        assert "thread.png is too narrow" in only(told(plan, "error", "bad_images")).message


def test_names_that_share_a_caption_or_differ_in_capitals_only(cache, tmp_path):
    for name in ("a.png", "a.jpg", "B.png", "b.png"):
        put(tmp_path / "2_cat", name)
    warnings = told(planned(cache, train_data_dir=tmp_path), "warning", "train_data_dir")
    assert any("a.jpg and a.png" in warning.message for warning in warnings)
    assert any("B.png and b.png" in warning.message for warning in warnings)


def test_files_of_unreadable_kinds_beside_good_ones_are_told(cache, tmp_path):
    put(tmp_path / "2_cat", "a.png")
    put(tmp_path / "2_cat", "b.heic", b"x")
    assert "b.heic" in only(told(planned(cache, train_data_dir=tmp_path), "warning")).message


class TestIndex:
    def test_a_second_plan_opens_no_picture(self, cache, cats, monkeypatch):
        first = planned(cache, train_data_dir=cats)
        monkeypatch.setattr(scan_module, "probe", lambda path: pytest.fail(f"opened {path}"))
        assert planned(cache, train_data_dir=cats) == first

    def test_a_changed_picture_is_opened_again(self, cache, cats):
        planned(cache, train_data_dir=cats)
        path = put(cats / "3_cat", "a.png", picture((50, 70)))
        os.utime(path, ns=(5, 5))
        assert planned(cache, train_data_dir=cats).samples[0].image_size == (50, 70)

    def test_problems_of_the_moment_are_not_remembered(self, cache, cats, monkeypatch):
        def locked(path):
            raise PictureProblem(path, "is locked", "wait", lasting=False)

        monkeypatch.setattr(scan_module, "probe", locked)
        assert planned(cache, train_data_dir=cats).samples == ()
        monkeypatch.setattr(scan_module, "probe", probe)
        assert len(planned(cache, train_data_dir=cats).samples) == 2

    def test_a_damaged_index_changes_nothing(self, cache, cats):
        first = planned(cache, train_data_dir=cats)
        PictureIndex(cache).path.write_bytes(b"rubbish" * 1000)
        assert planned(cache, train_data_dir=cats) == first

    def test_an_impossible_cache_folder_is_a_warning(self, tmp_path, cats):
        blocker = put(tmp_path, "file", b"x")
        plan = planned(blocker / "cache", train_data_dir=cats)
        assert len(plan.samples) == 2
        assert told(plan, "warning", "cache_dir")

    def test_an_interrupted_first_scan_keeps_what_it_read(self, cache, tmp_path, monkeypatch):
        folder = tmp_path / "photos"
        for number in range(5):
            put(folder, f"{number}.png", caption="x")
        monkeypatch.setattr(scan_module, "_CHUNK", 1)
        monkeypatch.setattr(scan_module, "_KEEP_AFTER", 1)
        real = scan_module.probe

        def stop_at_last(path):
            if path.name == "4.png":
                raise KeyboardInterrupt
            return real(path)

        monkeypatch.setattr(scan_module, "probe", stop_at_last)
        with pytest.raises(KeyboardInterrupt):
            planned(cache, train_data_dir=folder)
        opened = []
        monkeypatch.setattr(scan_module, "probe", lambda path: opened.append(path) or real(path))
        assert len(planned(cache, train_data_dir=folder).samples) == 5
        assert [path.name for path in opened] == ["4.png"]


def test_progress_is_told(cache, cats, tmp_path):
    from sd_scripts.dataset.plan import plan_dataset
    from sd_scripts.options.groups.caption import CaptionOptions
    from sd_scripts.options.groups.data import DataOptions

    heard: list[tuple[str, int, int]] = []
    data = DataOptions(train_data_dir=str(cats), cache_dir=str(cache))
    for _ in range(2):
        plan_dataset(data, CaptionOptions(), progress=lambda *args: heard.append(args))
    assert heard == [("Reading pictures of folder 3_cat", 2, 2)] * 2


def test_nothing_is_written_beside_the_pictures(cache, cats):
    before = sorted(path for path in cats.rglob("*"))
    planned(cache, train_data_dir=cats)
    assert sorted(path for path in cats.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_odd_names_are_planned_and_told(cache, tmp_path):
    folder = tmp_path / "2_猫 ×"
    put(folder, "ä 🐈.png", caption="x")
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    odd.write_bytes(b"no picture")
    plan = planned(cache, train_data_dir=tmp_path)
    assert plan.samples[0].path.name == "ä 🐈.png"
    assert str(only(told(plan, "warning", "bad_images"))).encode("utf-8")
    assert plan.fingerprint()
