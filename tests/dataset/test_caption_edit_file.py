"""Editing caption files: only captions change, every other byte stays."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset.caption_edit_file import CaptionFile, clean_caption
from sd_scripts.dataset.caption_files import CaptionProblem, read_caption

PATH = Path("a.txt")
TEXTS = st.text(st.sampled_from("ab ,é写\t\r\n\u2028\x0c"), max_size=30)


def edited(data: bytes, *captions: str) -> bytes:
    return CaptionFile.parse(PATH, data).with_captions(captions).encode(PATH)


@pytest.mark.parametrize(
    ("data", "captions", "expected"),
    [
        (b"a\r\n\r\nb\r\n", ("x", "b"), b"x\r\n\r\nb\r\n"),
        (b"\xef\xbb\xbfa", ("x",), b"\xef\xbb\xbfx"),
        (
            codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le"),
            ("é",),
            codecs.BOM_UTF16_LE + b"\xe9\0\n\0",
        ),
        (b"caf\xe9, cup\n", ("caf\u00e9",), b"caf\xe9\n"),
        (b"caf\xe9\n", ("写",), "写\n".encode()),  # a letter that its encoding lacks
        (b"caf\xe9\n", ("éàü",), "éàü\n".encode()),  # could not be told for certain when read again
        (b"a\nb\nc", ("a", "c"), b"a\nc"),
        (b"a\nb", ("a",), b"a"),
        (b"a\nb\n", ("a", "n", "b", "c"), b"a\nn\nb\nc\n"),
        (b"a", ("a", "b"), b"a\nb"),
        (b"", ("a", "b"), b"a\nb\n"),
        (b"\n", ("a",), b"a\n"),
        (b"a\n", (), b""),
        (b"  a  \nb", ("a", "x"), b"  a  \nx"),
    ],
)
def test_only_the_captions_change(data: bytes, captions: tuple[str, ...], expected: bytes) -> None:
    assert edited(data, *captions) == expected


@given(TEXTS, st.sampled_from([b"", codecs.BOM_UTF8]))
def test_what_is_not_changed_keeps_every_byte(text: str, mark: bytes) -> None:
    data = mark + text.encode("utf-8")
    file = CaptionFile.parse(PATH, data)
    assert file.encode(PATH) == data
    assert file.with_captions(file.captions).encode(PATH) == data


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_what_is_written_is_what_the_trainers_read(text: str, captions: list[str]) -> None:
    data = edited(text.encode("utf-8"), *captions)
    cleaned = tuple(one for one in map(clean_caption, captions) if one)
    assert CaptionFile.parse(PATH, data).captions == cleaned


def test_the_lines_are_those_that_the_trainers_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b" one\x0btwo\r\n\n three")
    assert CaptionFile.parse(file, file.read_bytes()).captions == read_caption(file).lines


@pytest.mark.parametrize("data", [b"\x89PNG\0\0", b"\xe5\x86\x99\xff\xfe", b"a" * 1_000_001])
def test_what_is_no_caption_is_refused(data: bytes) -> None:
    with pytest.raises(CaptionProblem):
        CaptionFile.parse(PATH, data)


def test_a_caption_becomes_one_clean_line() -> None:
    assert clean_caption(" \ufeffa\0 \ud800\u2028 b\r\n") == "a ? b"
    with pytest.raises(CaptionProblem):
        edited(b"a", "x" * 1_000_001)
