"""Pages of a mapped weights file leave main memory once nobody reads them any more."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from typing import Final

from torch import Tensor

_PAGE_OUT: Final = 21
"""Linux' MADV_PAGEOUT (madvise(2), since 5.4). Nothing is lost: who reads them gets them again."""

_MAPS: Final = Path("/proc/self/maps")


def page_out(tensor: Tensor) -> bool:
    """Let a tensor's pages go if it lies in a mapped file; tells whether that was asked for.

    The system may still keep them (a file that somebody else owns, an old kernel): then the
    process looks larger than it needs to be.
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
        system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGE_OUT) == 0
    )


def _in_a_file(address: int) -> bool:
    """Tell by the process' memory map (proc(5)) whether an address belongs to a mapped file."""
    with _MAPS.open() as lines:
        for line in lines:
            span, _, _, _, inode, *_ = line.split(maxsplit=5)
            first, _, end = span.partition("-")
            if int(first, 16) <= address < int(end, 16):
                return inode != "0"
    return False
