"""Process settings: threads by usable cores, the user's own values, glibc's heap."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sd_scripts.runs import machine
from sd_scripts.runs.machine import (
    let_file_pages_go,
    settle_process,
    thread_variables,
    usable_cores,
)

_HEAP_TEST = """
import json, sys
from sd_scripts.runs.machine import give_back_memory, settle_process

def mapped():
    # Counted page by page, where VmRSS is an estimate; file pages come and go by themselves.
    fields = [line.split() for line in open("/proc/self/smaps_rollup")]
    return next(int(field[1]) for field in fields if field[0] == "Anonymous:") / 1024

told = settle_process(spare_memory="spare" in sys.argv)
before = mapped()
block = bytearray(300 << 20)
with_block = mapped()
del block
kept = mapped()
give_back_memory()
print(json.dumps([told, with_block - before, kept - before, mapped() - before]))
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is set, and a process whose heap stays as it is."""
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        # Set first, so that what a test puts there is taken away again.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(machine, "keep_freed_memory", lambda *, spare_memory: True)
    return monkeypatch


def processors(bare: pytest.MonkeyPatch, number: int) -> None:
    bare.setattr(machine, "_allowed_processors", lambda: list(range(number)))


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 8),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/of/the/host", "sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
        (
            {
                "proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/box\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            {
                machine._SIBLINGS.format(number): f"{number % 4},{number % 4 + 4}"
                for number in range(8)
            },
            4,
        ),
    ],
    ids=["nothing known", "no limit", "limit", "outer", "container", "version 1", "threads"],
)
def test_cores_are_those_that_can_be_kept_busy(
    bare: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], cores: int
) -> None:
    processors(bare, 8)
    assert usable_cores(system(tmp_path, files)) == cores


def test_threads_fit_the_cores_and_wait_asleep(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(machine, "usable_cores", lambda: 6)
    assert thread_variables() == {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "6"}
    assert thread_variables(num_processes=4)["OMP_NUM_THREADS"] == "1"
    bare.setenv("LOCAL_WORLD_SIZE", "2")
    assert "3 threads for 6 usable cores; waiting threads sleep" in settle_process()
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_what_the_user_has_set_stays(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("OMP_NUM_THREADS", "5")
    bare.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert thread_variables() == {}
    told = settle_process()
    assert "OMP_NUM_THREADS=5, as it was set" in told
    assert "OMP_WAIT_POLICY=ACTIVE, as it was set" in told
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("5", "ACTIVE")


@pytest.mark.skipif(not machine._has_glibc(), reason="a setting of glibc")
@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({}, True),
        ({"spare": "memory"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_max=9:glibc.malloc.trim_threshold=1"}, False),
        ({"MALLOC_MMAP_MAX_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}, False),
    ],
    ids=["ours", "memory is spared", "tunables", "variables"],
)
def test_freed_memory_is_kept_until_it_is_given_back(variables: dict[str, str], kept: bool) -> None:
    argv = [sys.executable, "-c", _HEAP_TEST, *variables]
    environment = {**os.environ, **variables}
    done = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True)
    told, with_block, afterwards, at_the_end = json.loads(done.stdout)
    assert with_block >= 300
    assert (afterwards >= 300) is kept
    assert at_the_end < 100
    assert "freed memory is kept" in told or not kept


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_pages_of_a_mapped_file_go_and_other_memory_stays(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(256)) * 4096)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapped[len(mapped) - 1] = 7  # a copy of our own, so that its going is seen
    assert let_file_pages_go(address_of(mapped), len(mapped))
    assert mapped[:] == path.read_bytes()
    assert not let_file_pages_go(address_of(mapped), 100)  # no whole page
    own = bytearray(b"x" * (1 << 20))
    assert not let_file_pages_go(address_of(own), len(own))
    assert own == b"x" * len(own)


def address_of(memory: mmap.mmap | bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
