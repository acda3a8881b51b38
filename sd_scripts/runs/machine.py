"""How a process uses the processor and main memory: settled before torch is loaded.

Three things that PyTorch and the system leave at defaults which do not suit long training on a
processor. Threads that wait go to sleep: by default they spin, and beside one other busy process a
step then takes ten times as long. There are as many threads as there are cores to run them: PyTorch
does not see that a container may use only a few. And memory that one step frees is kept for the
next one: else each step gets its memory from the system anew, zeroed page by page.

What the user has set in the environment stays as it is.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

_WAIT_POLICY: Final = "OMP_WAIT_POLICY"
_NUM_THREADS: Final = "OMP_NUM_THREADS"
_DONT_NEED: Final = 4  # MADV_DONTNEED of madvise(2)
_SIBLINGS: Final = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class _HeapSetting(NamedTuple):
    """One setting of glibc's `mallopt(3)`: its number, our value, and the names users know."""

    number: int
    value: int
    variable: str
    tunable: str


_HEAP: Final = (
    _HeapSetting(-1, -1, "MALLOC_TRIM_THRESHOLD_", "glibc.malloc.trim_threshold"),
    _HeapSetting(-2, 64 * 2**20, "MALLOC_TOP_PAD_", "glibc.malloc.top_pad"),
)
"""The heap is not cut when blocks at its end are freed (`give_back_memory` does that where it is
due), and it grows by 64 MB at a time."""
_ALL_IN_HEAP: Final = _HeapSetting(-4, 0, "MALLOC_MMAP_MAX_", "glibc.malloc.mmap_max")
_MOST_IN_HEAP: Final = _HeapSetting(
    -3, 32 * 2**20, "MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold"
)
"""Blocks of any size come from the heap, or those below 32 MB, the most that glibc takes."""


def settle_process(*, spare_memory: bool = False) -> str:
    """Settle this process, before torch is imported; returns what was done, in one line.

    OpenMP reads its variables when torch loads it, so no second start is needed. With
    `spare_memory`, blocks of 32 MB and more go back to the system when they are freed. That costs
    some time, and is right where gradients and the optimizer's memory of large weights come and
    go: kept in the heap, they leave holes that nothing else fits in.
    """
    mine = thread_variables(num_processes=_processes_here())
    os.environ.update(mine)
    heap = keep_freed_memory(spare_memory=spare_memory)
    threads = os.environ[_NUM_THREADS]
    told = [
        f"{threads} threads for {usable_cores()} usable cores"
        if _NUM_THREADS in mine
        else f"{_NUM_THREADS}={threads}, as it was set",
        "waiting threads sleep"
        if _WAIT_POLICY in mine
        else f"{_WAIT_POLICY}={os.environ[_WAIT_POLICY]}, as it was set",
    ]
    if heap:
        told.append("freed memory is kept for the next step")
    return f"Processor: {'; '.join(told)}"


def thread_variables(num_processes: int = 1) -> dict[str, str]:
    """Return the variables that a process needs before it starts, without those set already.

    `num_processes` share the cores of this machine.
    """
    threads = max(1, usable_cores() // num_processes)
    wanted = {_WAIT_POLICY: "PASSIVE", _NUM_THREADS: str(threads)}
    return {name: value for name, value in wanted.items() if not os.environ.get(name)}


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may keep busy.

    Two hardware threads of one core count once: they share its arithmetic. Limits of affinity and
    of control groups (containers) are kept. `root` is where the system's files are.
    """
    cores = len({_core_of(root, number) for number in _allowed_processors()})
    quotas = [math.ceil(quota) for quota in _quotas(root)]
    return max(1, min([cores, *quotas]))


def _allowed_processors() -> list[int]:
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _core_of(root: Path, processor: int) -> str:
    """Return what the hardware threads of one core have in common."""
    siblings = _read(root / _SIBLINGS.format(processor))
    return siblings or f"alone {processor}"


def _quotas(root: Path) -> Iterator[float]:
    """Yield the limits of all control groups that this process is in, in processors."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            top = root / "sys/fs/cgroup" / controllers
        else:
            continue
        group = top / path.lstrip("/")
        # In a container, the path may be that of the host; its own group is then the top.
        for folder in (group, *group.parents):
            yield from _quota(folder)
            if folder == top:
                break


def _quota(group: Path) -> Iterator[float]:
    second_version = (_read(group / "cpu.max") or "").split()
    first_version = [_read(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    for numbers in (second_version, first_version):
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):  # else no limit
            yield int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None  # another system, or another version of control groups


def _processes_here() -> int:
    """Return how many processes of this job share the machine, as their launcher has told."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return int(told) if told.isdigit() and int(told) else 1


def _has_glibc() -> bool:
    return sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names


def _is_users(setting: _HeapSetting, environment: Mapping[str, str]) -> bool:
    tunables = environment.get("GLIBC_TUNABLES", "")
    return setting.variable in environment or f"{setting.tunable}=" in tunables


def keep_freed_memory(*, spare_memory: bool = False) -> bool:
    """Make glibc keep freed memory; False elsewhere, and where the user has set all of it.

    The part of `settle_process` for a process that works with torch itself and starts others, which
    inherit its variables.
    """
    if not _has_glibc():
        return False
    large_blocks = _MOST_IN_HEAP if spare_memory else _ALL_IN_HEAP
    mallopt = ctypes.CDLL(None).mallopt
    ours = [setting for setting in (*_HEAP, large_blocks) if not _is_users(setting, os.environ)]
    done = [mallopt(setting.number, setting.value) for setting in ours]
    return any(done)


def give_back_memory() -> None:
    """Give freed memory back to the system, after work that needs more than what follows it."""
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def let_file_pages_go(address: int, num_bytes: int) -> bool:
    """Let pages of a mapped file go that are not needed any more; says whether that was done.

    Else they count as memory of this process for as long as the file is mapped. Only pages that
    lie wholly within these bytes go, and only such that a file backs: read again they would come
    from it again. Nobody may have written to them.
    """
    page = mmap.PAGESIZE
    first, last = -(-address // page) * page, (address + num_bytes) // page * page
    if sys.platform != "linux" or last <= first or not _backed_by_file(first, last):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONT_NEED) == 0
    )


def _backed_by_file(first: int, last: int) -> bool:
    """Whether one mapping of a file holds these addresses."""
    for line in (_read(Path("/proc/self/maps")) or "").splitlines():
        addresses, _, _, _, inode = line.split(maxsplit=5)[:5]
        begin, end = (int(number, 16) for number in addresses.split("-"))
        if begin <= first and last <= end:
            return inode != "0"
    return False
