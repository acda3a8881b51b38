"""The log as it is shown: the same wherever it was cut, bounded, and readable."""

from __future__ import annotations

import os
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.jobs.log_tail import MAX_COLUMNS, LineFolder, LogTail

SHOWN = {a + b for a in "LMNPSZC" for b in "udotmclpeksfn"} - {"Cc", "Zl", "Zp", "Cs"}
PIECES = st.sampled_from(
    [
        b"a",
        b"step 1/10",
        b"\n",
        b"\r",
        b"\r\n",
        b"\x1b[31m",
        b"\x1b[0m",
        b"\x1b[2K",
        b"\x1b]0;title\x07",
        b"\x1b",
        b"[",
        b"\t",
        b"\x00",
        "ü猫".encode(),
        "█▏".encode(),
        b"\xff",
        b"\xe7\x8c",
        b"x" * 700,
        b"   ",
    ]
)


def folded(*chunks: bytes, max_lines: int = 2000) -> list[str]:
    folder = LineFolder(max_lines)
    for chunk in chunks:
        folder.feed(chunk)
    return folder.lines


@given(data=st.lists(PIECES, max_size=60).map(b"".join), cuts=st.lists(st.integers(0, 4000)))
def test_the_cuts_do_not_matter(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(places)]
    for max_lines in (2000, 3):
        one, many = LineFolder(max_lines), LineFolder(max_lines)
        one.feed(data)
        for chunk in chunks:
            many.feed(chunk)
        assert one.lines == many.lines
        assert one.num_dropped == many.num_dropped


@given(data=st.binary(max_size=300))
def test_any_bytes_give_clean_bounded_lines(data: bytes) -> None:
    for line in folded(*(bytes([byte]) for byte in data)):
        assert line == line.rstrip()
        assert {unicodedata.category(letter) for letter in line.replace("\t", "")} <= SHOWN


@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]))))
def test_plain_text_stays_what_it_is(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    assert folded(text.encode()) == lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b" 1%|#   \r 50%|##  \r100%|####\ndone\n", ["100%|####", "done"]),
        (b"  5%\r 10%\r", [" 10%"]),
        (b"50%\r      \r\n", ["50%"]),
        (b"\x1b[1;31mred\x1b[0m plain\x1b[K\n", ["red plain"]),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        (b"up\x1b[A\n", ["up"]),
        (b"cut \x1b[3", ["cut"]),
        (b"a\n\n\nb\n", ["a", "", "", "b"]),
        (b"bad \xff byte\n", ["bad \ufffd byte"]),
        ("ü".encode()[:1], []),
        (b"a\tb\x08\x07\n", ["a\tb"]),
    ],
)
def test_a_line_looks_as_in_a_terminal(data: bytes, lines: list[str]) -> None:
    assert folded(data) == lines
    assert folded(*(bytes([byte]) for byte in data)) == lines


def test_only_the_newest_lines_stay_and_the_rest_is_counted() -> None:
    folder = LineFolder(max_lines=3)
    folder.feed(b"".join(b"%d\n" % n for n in range(10)))
    assert folder.lines == ["7", "8", "9"]
    assert folder.num_dropped == 7
    folder.feed(b"10")
    assert folder.lines == ["7", "8", "9", "10"]
    folder.feed(b"\n")
    assert folder.lines == ["8", "9", "10"]
    assert folder.num_dropped == 8


def test_a_giant_line_is_cut_and_its_length_told() -> None:
    folder = LineFolder()
    for _ in range(1000):
        folder.feed(b"x" * 1000)
    [line] = folder.lines
    assert line == "x" * MAX_COLUMNS + " … (a line of 1000000 characters)"


def test_a_progress_bar_of_a_week_takes_no_memory() -> None:
    folder = LineFolder()
    for _ in range(200):
        folder.feed(b"".join(b"\r%d/1000000 [time]" % n for n in range(500)))
    assert folder.lines == ["499/1000000 [time]"]
    assert len(folder._segment) < 100


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


def append(log: Path, data: bytes) -> None:
    with open(log, "ab") as file:
        file.write(data)


def test_a_log_is_followed(log: Path) -> None:
    tail = LogTail(log)
    assert not tail.poll()
    assert tail.view().lines == ()
    append(log, b"one\ntw")
    assert tail.poll()
    assert tail.view().lines == ("one", "tw")
    assert not tail.poll()
    append(log, b"o\n")
    assert tail.poll()
    assert tail.view().text == "one\ntwo"
    assert tail.view().note == ""


def test_only_what_is_new_is_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, b"line\n" * 100_000)
    tail = LogTail(log)
    tail.poll()
    assert tail.view().first_number == 98_000
    assert "98,000 earlier lines" in tail.view().note
    read, sizes = os.read, []

    def counted(handle: int, size: int) -> bytes:
        block = read(handle, size)
        sizes.append(len(block))
        return block

    monkeypatch.setattr("kohya_gui.jobs.log_tail.os.read", counted)
    append(log, b"new\n")
    tail.poll()
    assert sum(sizes) == 4
    assert tail.view().lines[-1] == "new"
    assert tail.view().first_number == 98_001


def test_a_log_that_was_cut_short_or_replaced_is_read_anew(log: Path) -> None:
    append(log, b"old one\nold two\n")
    tail = LogTail(log)
    tail.poll()
    log.write_bytes(b"new\n")
    tail.poll()
    assert tail.view().lines == ("new",)
    other = log.with_name("other")
    other.write_bytes(b"a longer log of another run\n")
    os.replace(other, log)
    tail.poll()
    assert tail.view().lines == ("a longer log of another run",)


def test_a_huge_log_is_read_from_near_its_end(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kohya_gui.jobs.log_tail._FIRST_READ_BYTES", 3_000_000)
    append(log, b"x" * 99 + b"\n")
    append(log, (b"y" * 99 + b"\n") * 79_999)
    tail = LogTail(log)
    tail.poll()
    view = tail.view()
    assert view.skipped_bytes == 5_000_000
    assert view.note == "The first 5 MB of the log are not shown."
    assert len(view.lines) == 2000
