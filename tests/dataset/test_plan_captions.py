"""Captions of real folders: none is ignored in silence, and each mistake is told by name."""

from __future__ import annotations

from tests.dataset.jobs import only, planned, told
from tests.dataset.zoo import put


def test_files_with_another_ending_are_never_ignored(cache, tmp_path):
    for name in ("a", "b"):
        put(tmp_path / "2_cat", f"{name}.png")
        (tmp_path / "2_cat" / f"{name}.txt").write_text("x")
    error = only(told(planned(cache, train_data_dir=tmp_path), "error"))
    assert error.option == "caption_extension"
    assert "2 pictures in folder 2_cat" in error.message
    assert "set caption_extension to .txt" in (error.hint or "")
    plan = planned(cache, train_data_dir=tmp_path, caption_extension="txt")
    assert plan.problems == ()
    assert plan.samples[0].caption == "x"


def test_a_mixture_of_endings_is_told(cache, tmp_path):
    put(tmp_path / "2_cat", "a.png", caption="x")
    put(tmp_path / "2_cat", "b.png")
    (tmp_path / "2_cat" / "b.txt").write_text("x")
    warning = only(told(planned(cache, train_data_dir=tmp_path), "warning"))
    assert warning.option == "caption_extension"
    assert ".txt" in warning.message


def test_without_files_the_words_of_the_folder_are_the_caption(cache, tmp_path):
    put(tmp_path / "2_sks cat", "a.png")
    plan = planned(cache, train_data_dir=tmp_path)
    assert plan.problems == ()
    assert plan.samples[0].caption == "sks cat"


def test_some_without_files_are_told(cache, tmp_path):
    put(tmp_path / "2_cat", "a.png", caption="x")
    put(tmp_path / "2_cat", "b.png")
    plan = planned(cache, train_data_dir=tmp_path)
    warning = only(told(plan, "warning", "caption_extension"))
    assert "1 of 2 pictures" in warning.message
    assert "b.png" in warning.message
    assert "“cat”" in warning.message
    assert plan.samples[1].caption == "cat"


def test_no_captions_and_no_words_is_told(cache, tmp_path):
    put(tmp_path / "photos", "a.png")
    plan = planned(cache, train_data_dir=tmp_path / "photos")
    assert "empty caption" in only(told(plan, "warning", "caption_extension")).message
    assert plan.samples[0].caption == ""


def test_an_empty_file_counts_as_none_and_is_told(cache, tmp_path):
    put(tmp_path / "2_cat", "a.png", caption="x")
    put(tmp_path / "2_cat", "b.png", caption=" \n")
    plan = planned(cache, train_data_dir=tmp_path)
    warning = only(told(plan, "warning", "caption_extension"))
    assert "b.png" in warning.message
    assert plan.samples[1].caption == "cat"
    assert [path.name for path in plan.datasets[0].subsets[0].empty_captions] == ["b.png"]


def test_encodings(cache, tmp_path):
    folder = tmp_path / "2_cat"
    put(folder, "a.png", caption="x")
    put(folder, "b.png")
    (folder / "b.caption").write_bytes("un café".encode("cp1252"))
    plan = planned(cache, train_data_dir=tmp_path)
    assert plan.samples[1].caption == "un café"
    assert "b.caption (Windows-1252)" in only(told(plan, "warning")).message
    (folder / "a.caption").write_bytes("чёрная кошка".encode("cp1251"))
    error = only(told(planned(cache, train_data_dir=tmp_path), "error", "caption_extension"))
    assert "a.caption is not UTF-8 text" in error.message


def test_several_lines_without_wildcards_are_told(cache, tmp_path):
    put(tmp_path / "2_cat", "a.png", caption="one\ntwo")
    plan = planned(cache, train_data_dir=tmp_path)
    assert only(told(plan, "warning")).option == "enable_wildcard"
    assert plan.samples[0].caption == "one"
    plan = planned(cache, train_data_dir=tmp_path, enable_wildcard=True)
    assert plan.problems == ()
    assert plan.samples[0].caption == "one\ntwo"


def test_a_mark_that_nothing_removes_is_told(cache, tmp_path):
    put(tmp_path / "2_cat", "a.png", caption="cat ||| a, b")
    plan = planned(cache, train_data_dir=tmp_path, keep_tokens_separator="|||")
    assert "stays in the captions" in only(told(plan, "warning")).message
    shuffled = {"keep_tokens_separator": "|||", "shuffle_caption": True}
    assert planned(cache, train_data_dir=tmp_path, **shuffled).problems == ()


def test_faces_cut_out_share_the_caption_of_their_picture(cache, tmp_path):
    put(tmp_path / "2_cat", "photo_10_20_30_40.png")
    (tmp_path / "2_cat" / "photo.caption").write_text("shared")
    assert planned(cache, train_data_dir=tmp_path).samples[0].caption == "shared"
