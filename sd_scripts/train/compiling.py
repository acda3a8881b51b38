"""torch.compile for the U-Net: block by block, in place, and left out while previews are painted.

Blocks that repeat are compiled, not the whole U-Net: that takes a fraction of the time, goes with
gradient checkpointing (which runs whole blocks again), and keeps modules, their names and what
hangs on them. Sizes that differ by bucket are compiled once as they are, then once for any size.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.groups.training import PerformanceOptions

BLOCKS: Final = frozenset(("BasicTransformerBlock", "ResnetBlock2D"))
"""diffusers' classes that make up nearly all of a U-Net's work."""
_LIMIT: Final = 512
"""How often one function may be compiled: by block size, with and without gradients, by bucket.

PyTorch's own 8 are used up by the widths of a U-Net; beyond, it would go on uncompiled."""
_OFF: Final = "Switch torch_compile off; training is then as exact, only slower."


def compile_blocks(performance: PerformanceOptions, unet: nn.Module) -> int:
    """Have the blocks of a U-Net compiled when they are first run; returns how many."""
    backend = performance.compiler
    if backend is None:
        return 0
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _LIMIT)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 8 * _LIMIT)
    config.fail_on_recompile_limit_hit = True
    blocks = _blocks(unet)
    for block in blocks:
        block.compile(**_settings(performance))
    return len(blocks)


def _settings(performance: PerformanceOptions) -> dict[str, Any]:
    chosen = performance.dynamo_mode
    mode = chosen if performance.compiler == "inductor" and chosen != "default" else None
    return {"backend": performance.compiler, "mode": mode}


def _blocks(unet: nn.Module) -> list[nn.Module]:
    return [module for module in unet.modules() if type(module).__name__ in BLOCKS]


@contextmanager
def uncompiled(unet: nn.Module) -> Iterator[None]:
    """Within it, blocks run as they are: other sizes and no gradients would be compiled anew."""
    compiled = {block: block._compiled_call_impl for block in _blocks(unet)}
    for block in compiled:
        block._compiled_call_impl = None
    try:
        yield
    finally:
        for block, call in compiled.items():
            block._compiled_call_impl = call


def compiler_problems(performance: PerformanceOptions, device: torch.device) -> list[Problem]:
    """Tell what this machine lacks for compiling; nothing is compiled yet."""
    backend = performance.compiler
    if backend == "cudagraphs" and device.type != "cuda":
        return [
            Problem(
                "cudagraphs records what an NVIDIA or AMD card does, and there is none here",
                "dynamo_backend, torch_compile",
                f"Set dynamo_backend to inductor. {_OFF}",
            )
        ]
    if backend != "inductor":
        return []
    lacking = _lacking_on_card() if device.type == "cuda" else _lacking_on_processor()
    if lacking is None:
        return []
    what, remedy = lacking
    message = f"Compiling needs {what}, which is not there"
    return [Problem(message, "torch_compile", f"{remedy} {_OFF}")]


def _lacking_on_processor() -> tuple[str, str] | None:
    if not _has_cpp_compiler():
        if sys.platform == "win32":
            return "Microsoft's C++ compiler (cl)", "Install the Visual Studio Build Tools."
        if sys.platform == "darwin":
            return "a C++ compiler", "Install Apple's tools: xcode-select --install."
        return "a C++ compiler", "Install g++ (on Debian and Ubuntu: apt install g++)."
    if " " in torch.__file__:
        # Inductor hands the folder of PyTorch's libraries to the linker without quoting it.
        return "a folder without blanks in its name", "Move this program to such a folder."
    return _lacking_headers()


def _lacking_on_card() -> tuple[str, str] | None:
    if importlib.util.find_spec("triton") is None:
        package = "triton-windows" if sys.platform == "win32" else "triton"
        return "the package triton", f"Install it into the program's venv: pip install {package}."
    if sys.platform == "win32":
        return None  # its Triton brings a compiler
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "a C compiler", "Install gcc (on Debian and Ubuntu: apt install gcc)."
    return _lacking_headers()


def _has_cpp_compiler() -> bool:
    named = os.environ.get("CXX")
    usual = ("cl",) if sys.platform == "win32" else ("g++", "clang++", "c++")
    return any(shutil.which(name) for name in ((named,) if named else usual))


def _lacking_headers() -> tuple[str, str] | None:
    if (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"the C headers of Python {version}",
        f"Install them (on Debian and Ubuntu: apt install python{version}-dev).",
    )


class _Trial(nn.Module):
    """A small block of its own class: PyTorch's containers would not be compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.layer(x))


def try_compiler(performance: PerformanceOptions, device: torch.device) -> None:
    """Compile a small block forward and backward, so that a broken compiler is known at once.

    Raises `UserError` with what it says.
    """
    if performance.compiler is None:
        return
    block = _Trial().to(device)
    block.compile(**_settings(performance))
    try:
        torch.autograd.backward(block(torch.ones(2, 8, device=device)).sum())
    except Exception as error:
        raise UserError(
            f"The compiler {performance.compiler} does not work here: {_told(error)}",
            option="torch_compile, dynamo_backend",
            hint=_OFF,
        ) from error


def _told(error: Exception) -> str:
    """Return the line of a compiler's error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    compilers = [line for line in lines if "error: " in line]  # as C++ compilers and linkers write
    return (compilers or lines or [type(error).__name__])[0][:300]
