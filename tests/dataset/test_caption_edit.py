"""Changing many captions at once: each change by hand, and what holds for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset import caption_regex_worker
from sd_scripts.dataset.caption_edit import count_tags, edit_of, tags_of
from sd_scripts.dataset.caption_regex import substitute
from sd_scripts.errors import UserError

CAPTIONS = st.text(st.sampled_from("aAb ,"), max_size=20)


def change(caption: str, **data: Any) -> str:
    return edit_of(data).apply([(caption,)])[0][0]


@pytest.mark.parametrize(
    ("before", "data", "after"),
    [
        ("cat,  sitting", {"kind": "add", "tags": "red, Cat"}, "cat,  sitting, red"),
        ("cat, sitting", {"kind": "add", "tags": "mycat", "in_front": True}, "mycat, cat, sitting"),
        ("cat,", {"kind": "add", "tags": "red"}, "cat, red"),
        ("", {"kind": "add", "tags": "red,blue"}, "red, blue"),
        ("cat,sitting , RED", {"kind": "remove", "tags": "red"}, "cat, sitting"),
        ("cat,  sitting", {"kind": "remove", "tags": "red"}, "cat,  sitting"),
        ("a, b, c", {"kind": "replace", "tags": "a, c", "new": "b, d"}, "d, b"),
        ("d, c, b, a", {"kind": "sort", "keep_first": 1}, "d, a, b, c"),
        ("a, b,c", {"kind": "sort"}, "a, b,c"),
        ("cat, red, Cat, red", {"kind": "dedupe"}, "cat, red"),
        ("sitting", {"kind": "prefix", "text": "photo of"}, "photo of sitting"),
        ("photo of it", {"kind": "prefix", "text": "photo of "}, "photo of it"),
        ("sitting", {"kind": "postfix", "text": ", 4k"}, "sitting, 4k"),
        ("a  b", {"kind": "find", "find": "  ", "replacement": " "}, "a b"),
        ("a.b axb", {"kind": "find", "find": "A.B", "replacement": r"\1"}, r"\1 axb"),
        (
            "cat_ears, dog_tail",
            {
                "kind": "find",
                "find": r"(\w+)_(\w+)",
                "replacement": r"\2 of \1",
                "is_pattern": True,
            },
            "ears of cat, tail of dog",
        ),
        (
            "Cat cat",
            {
                "kind": "find",
                "find": "cat",
                "replacement": "x",
                "is_pattern": True,
                "match_case": 1,
            },
            "Cat x",
        ),
    ],
)
def test_changes_by_hand(before: str, data: dict[str, Any], after: str) -> None:
    assert change(before, **data) == after


def test_tags_are_sorted_by_how_often_they_occur() -> None:
    files = [("rare, often",), ("often", "some, often"), ("some",)]
    assert count_tags(files) == {"rare": 1, "often": 2, "some": 2}
    assert edit_of({"kind": "sort", "by": "often"}).apply(files)[0] == ("often, rare",)


def test_all_captions_of_a_file_are_changed_and_none_is_lost() -> None:
    files: list[tuple[str, ...]] = [("a", "b, c"), (), ("c",)]
    assert edit_of({"kind": "remove", "tags": "c"}).apply(files) == [("a", "b"), (), ("",)]
    assert edit_of({"kind": "add", "tags": "c"}).apply(files) == [("a, c", "b, c"), ("c",), ("c",)]


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "sort"},
        {"kind": "dedupe"},
        {"kind": "remove", "tags": "a"},
        {"kind": "replace", "tags": "a", "new": "b, c"},
        {"kind": "add", "tags": "b, d"},
    ],
)
@given(CAPTIONS)
def test_a_change_done_twice_is_done_once_and_what_stays_stays(
    data: dict[str, Any], caption: str
) -> None:
    once = change(caption, **data)
    assert change(once, **data) == once
    if tags_of(once) == tags_of(caption):
        assert once == caption


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "add", "tags": " , "}, "Give tags"),
        ({"kind": "prefix"}, "Give the text"),
        ({"kind": "find", "find": ""}, "Give what is looked for"),
        ({"kind": "find", "find": "x" * 1001}, "too long"),
        ({"kind": "explode"}, "no change"),
    ],
)
def test_what_is_no_change_is_told(data: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        edit_of(data)


@pytest.mark.parametrize(
    ("find", "replacement", "words"),
    [
        ("(a", "", "cannot be understood"),
        ("a", r"\9", "cannot be understood"),
        ("(a+)+$", "", "given up"),
        ("", "x" * 1000, "too long"),
        ("a", "x" * 1001, "too long"),
    ],
)
def test_a_pattern_that_is_wrong_or_endless_is_told(
    find: str, replacement: str, words: str
) -> None:
    texts = ["a" * 40 + "b", "b" * 12_000, "b" * 12_001]
    seconds = 1.0 if words == "given up" else 60.0
    with pytest.raises(UserError, match=words):
        substitute(texts, find, replacement, is_pattern=True, match_case=True, seconds=seconds)


def _hungry(max_letters: int, times: int) -> dict[str, object]:
    """A task whose texts grow by the square of their length."""
    return {
        "texts": ["a" * 20_000],
        "find": "(?=(a*))",
        "replacement": r"\1" * times,
        "match_case": True,
        "max_letters": max_letters,
    }


def test_what_becomes_too_long_is_given_up_before_it_is_made() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(caption_regex_worker.TooMuchError):
            caption_regex_worker.replace_all(_hungry(1_000_000, 1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps such a limit")
def test_a_pattern_cannot_take_all_memory() -> None:
    task = json.dumps(_hungry(10**12, 8)).encode()
    done = subprocess.run(
        [sys.executable, "-I", "-S", caption_regex_worker.__file__],
        input=task,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == {"too_much": True}
