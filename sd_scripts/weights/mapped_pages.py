"""Pages of a privately mapped weights file leave a process once nobody reads them any more."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from typing import Final

from torch import Tensor

_DONT_NEED: Final = 4
"""Linux' MADV_DONTNEED (madvise(2)): a page that is read after all comes from the file again."""

_MAPS: Final = Path("/proc/self/maps")


def let_pages_go(tensor: Tensor) -> bool:
    """Let the pages of a tensor go that lies in a privately mapped file; tells whether it does.

    Nobody may need the tensor any more: what was written to it is lost, the file stays as it is.
    """
    if sys.platform != "linux" or tensor.device.type != "cpu":
        return False
    page = mmap.PAGESIZE
    start = -(-tensor.data_ptr() // page) * page
    end = (tensor.data_ptr() + tensor.nbytes) // page * page
    if end <= start or not _in_a_file(start):
        return False
    system = ctypes.CDLL(None)
    return bool(
        system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED) == 0
    )


def _in_a_file(address: int) -> bool:
    """Tell by the process' memory map (proc(5)) whether a file is mapped there, privately."""
    with _MAPS.open() as lines:
        for line in lines:
            span, rights, _, _, inode, *_ = line.split(maxsplit=5)
            first, _, end = span.partition("-")
            if int(first, 16) <= address < int(end, 16):
                return inode != "0" and rights.endswith("p")
    return False
