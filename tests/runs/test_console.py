"""Output of a trainer: in the terminal and in the log, and never a reason to end."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from sd_scripts.runs.console import CarefulStream, is_same_file, output_to
from sd_scripts.runs.folder import RunFolder


class Refusing(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_both_streams_get_all() -> None:
    first, second = io.StringIO(), io.StringIO()
    print("hello ü", file=CarefulStream(first, second))
    assert first.getvalue() == second.getvalue() == "hello ü\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_a_full_disk_or_closed_terminal_is_counted(number: int) -> None:
    copy = io.StringIO()
    stream = CarefulStream(Refusing(number), copy)
    stream.write("a\n")
    assert stream.num_lost == 1
    assert copy.getvalue() == "a\n"


def test_another_fault_is_not_hidden() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        CarefulStream(Refusing(errno.EBADF)).write("a")


def test_a_terminal_without_unicode_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = CarefulStream(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    stream.write("猫")
    assert raw.getvalue() == b"\\u732b"


def test_output_goes_to_the_log_once(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "job", "")
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; from pathlib import Path\n"
        "from sd_scripts.runs.console import output_to\n"
        "from sd_scripts.runs.folder import RunFolder\n"
        "with output_to(RunFolder(Path(sys.argv[1]))):\n"
        "    print('out ü', flush=True); print('err', file=sys.stderr, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    variables = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, check=True)
    assert done.stdout.decode("utf-8").strip() == "out ü"
    assert done.stderr.decode("utf-8").strip() == "err"
    assert run.log.read_text("utf-8").splitlines() == ["out ü", "err"]
    with open(run.log, "ab") as log:
        subprocess.run(command, cwd=root, env=variables, stdout=log, stderr=log, check=True)
    assert run.log.read_text("utf-8").splitlines() == ["out ü", "err"] * 2


def test_streams_come_back(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "job", "")
    before: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)
    with output_to(run):
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


def test_a_stream_without_a_handle_is_no_file(tmp_path: Path) -> None:
    assert not is_same_file(io.StringIO(), tmp_path / "x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
def test_a_disk_that_is_full_to_the_end_is_no_fault(tmp_path: Path) -> None:
    """What could not be written stays in the buffer, and is refused once more by closing."""
    run = RunFolder.create(tmp_path, "x", "")
    run.log.symlink_to("/dev/full")
    with output_to(run):
        print("a line that finds no place")
