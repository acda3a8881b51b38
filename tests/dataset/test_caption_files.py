"""Caption files in any encoding: read, or refused by name, never turned into nonsense silently."""

from __future__ import annotations

import pytest

from sd_scripts.dataset.caption_files import CaptionProblem, caption_names, read_caption


def written(tmp_path, data: bytes):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ["a cat", "eine Katze auf dem Rücken", "猫, кошка 🐈"])
def test_unicode_is_read_with_and_without_mark(tmp_path, encoding, text):
    read = read_caption(written(tmp_path, text.encode(encoding)))
    assert read.lines == (text,)
    assert read.encoding == ("UTF-16" if encoding == "utf-16" else "UTF-8")


@pytest.mark.parametrize(
    "text",
    [
        "café au lait, 20 €",
        "“quoted” – Größe",
        "niño",
        "une soirée créée",
        "«Été» à Paris, un tableau",
    ],
)
def test_western_european_text_is_read_and_its_encoding_named(tmp_path, text):
    read = read_caption(written(tmp_path, text.encode("cp1252")))
    assert read.lines == (text,)
    assert read.encoding == "Windows-1252"


@pytest.mark.parametrize(
    "data",
    [
        "чёрная кошка сидит".encode("cp1251"),
        "黒い猫が座っている".encode("shift-jis"),
        "ネコ, 1girl".encode("shift-jis"),
        "1girl, 고".encode("euc-kr"),
        "黑猫坐着".encode("gb18030"),
        "검은 고양이".encode("euc-kr"),
        "a cat".encode("utf-16-le"),  # without its mark
        b"caf\xe9 \x81",
        b"\xff\xfea",  # half a character
        b"a cat\0",
        bytes(range(256)),
    ],
)
def test_what_cannot_be_told_for_certain_is_refused_by_name(tmp_path, data):
    path = written(tmp_path, data)
    with pytest.raises(CaptionProblem) as caught:
        read_caption(path)
    assert caught.value.path == path
    assert "UTF-8" in caught.value.reason
    assert "UTF-8" in caught.value.hint


def test_lines(tmp_path):
    read = read_caption(written(tmp_path, b"\r\n  first line \r\n\nsecond\n   \n"))
    assert read.lines == ("first line", "second")
    assert read.caption(enable_wildcard=False) == "first line"
    assert read.caption(enable_wildcard=True) == "first line\nsecond"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \r\n", b"\xef\xbb\xbf"])
def test_empty_files_have_no_lines(tmp_path, data):
    read = read_caption(written(tmp_path, data))
    assert read.lines == ()
    assert read.caption(enable_wildcard=False) == read.caption(enable_wildcard=True) == ""


def test_a_file_that_is_no_caption_at_all(tmp_path):
    with pytest.raises(CaptionProblem, match="megabyte"):
        read_caption(written(tmp_path, b"a" * 1_000_001))
    with pytest.raises(CaptionProblem, match="can't be opened"):
        read_caption(tmp_path / "gone.txt")


def test_names_to_look_for():
    assert list(caption_names("photo", ".txt")) == ["photo.txt"]
    assert list(caption_names("photo_10_20_30_40", ".txt")) == [
        "photo_10_20_30_40.txt",
        "photo.txt",
    ]
    assert list(caption_names("my_photo_1_2_3_4", ".txt"))[1] == "my_photo.txt"
    assert list(caption_names("a_b_c_d", ".txt")) == ["a_b_c_d.txt"]
