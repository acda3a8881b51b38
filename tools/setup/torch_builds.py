"""Which build of PyTorch fits which hardware: the table for the pinned version, and the choice.

Sources for PyTorch 2.13: its release compatibility and CUDA support matrices (CUDA 12.6, 13.0
and 13.2, ROCm 7.2) and NVIDIA's table of minor version compatibility (CUDA 12.x runs from driver
525, 13.x from 580). What could not be tried without the hardware is in docs/gpu-checklist.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from tools.setup.console import SetupError
from tools.setup.hardware import Gpu, Hardware

Capability = tuple[int, int]


@dataclass(frozen=True)
class TorchBuild:
    """One build: where it runs, what it needs, and how big it is (GB to fetch, GB on disk)."""

    tag: str
    title: str
    systems: tuple[str, ...]
    download_gb: float
    disk_gb: float
    min_driver: int | None = None  # NVIDIA's major driver version
    oldest: Capability = (0, 0)
    newest: Capability = (0, 0)
    gfx: frozenset[str] = frozenset()


ROCM_CARDS = frozenset(
    {"gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100"}
    | {"gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200", "gfx1201"}
)

BUILDS: dict[str, TorchBuild] = {
    build.tag: build
    for build in (
        TorchBuild("cpu", "CPU", ("Linux", "Windows"), 0.3, 2),
        TorchBuild("mps", "Apple GPU (MPS)", ("Darwin",), 0.2, 2),
        # Best first among those for NVIDIA: the choice goes down this list.
        TorchBuild("cu130", "CUDA 13.0", ("Linux", "Windows"), 2.5, 8, 580, (7, 5), (12, 9)),
        TorchBuild("cu126", "CUDA 12.6", ("Linux", "Windows"), 2.8, 9, 525, (5, 0), (9, 9)),
        # Experimental in this version; only by --torch cu132.
        TorchBuild("cu132", "CUDA 13.2", ("Linux", "Windows"), 2.5, 8, 580, (7, 5), (12, 9)),
        TorchBuild("rocm7.2", "ROCm 7.2", ("Linux",), 4.5, 18, gfx=ROCM_CARDS),
    )
}
AUTOMATIC_NVIDIA = ("cu130", "cu126")
# The build that the package index itself offers, where PyTorch's own index can't be reached.
PLAIN_BUILD = {"Linux": "cu130", "Windows": "cpu", "Darwin": "mps"}


@dataclass(frozen=True)
class Choice:
    """The build to install, why, and what the user should know about it."""

    tag: str
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def build(self) -> TorchBuild:
        """Return the table's row; an unlisted tag given by hand gets a guessed size."""
        return BUILDS.get(self.tag) or TorchBuild(self.tag, self.tag, (), 3, 12)


def covers(build: TorchBuild, capability: Capability) -> bool:
    """Say whether a CUDA build has kernels for a card of this compute capability."""
    return build.oldest <= capability <= build.newest


def driver_major(driver: str | None) -> int | None:
    """Return 580 of "580.65.06"."""
    found = re.match(r"\d+", driver or "")
    return int(found.group()) if found else None


def choose(hardware: Hardware, wanted: str | None = None) -> Choice:
    """Choose the build; `wanted` (from --torch or KOHYA_TORCH) wins if it can be installed here.

    Raises `SetupError` for machines that PyTorch has no build for and for names of no build.
    """
    if hardware.system == "Darwin" and hardware.machine == "x86_64":
        raise SetupError(
            "PyTorch has no build for Macs with an Intel processor any more.",
            "Use a Mac with Apple silicon, Linux or Windows.",
        )
    if wanted and wanted != "auto":
        return _wanted(hardware, wanted.strip().lower())
    if hardware.trouble:
        advice = "Mend the driver, then run set-up again; `doctor` tells more."
        card = "An NVIDIA card" if hardware.vendor == "nvidia" else "An AMD card"
        return Choice("cpu", f"{card} is there, but {hardware.trouble}", (advice,))
    if hardware.vendor == "apple":
        return Choice("mps", "Apple silicon")
    if hardware.vendor == "nvidia":
        return _for_nvidia(hardware)
    if hardware.vendor == "amd":
        return _for_amd(hardware)
    return Choice("cpu", "no graphics card for training was found")


def _wanted(hardware: Hardware, tag: str) -> Choice:
    build = BUILDS.get(tag)
    if build is None and not re.fullmatch(r"cu\d{3}|rocm\d+(\.\d+)*", tag):
        known = ", ".join(BUILDS)
        raise SetupError(f"'{tag}' names no build of PyTorch.", f"Take one of: auto, {known}.")
    if build is not None and hardware.system not in build.systems:
        fitting = ", ".join(b.tag for b in BUILDS.values() if hardware.system in b.systems)
        raise SetupError(
            f"PyTorch for {build.title} does not exist for {hardware.system}.",
            f"Take one of: {fitting}.",
        )
    if build is None:
        note = f"'{tag}' is not in the list of known builds; set-up tries it all the same."
        return Choice(tag, "chosen by hand", (note,))
    return Choice(tag, "chosen by hand")


def _for_nvidia(hardware: Hardware) -> Choice:
    driver = driver_major(hardware.driver)
    capabilities = [gpu.capability for gpu in hardware.gpus if isinstance(gpu.capability, tuple)]
    best: tuple[int, str] | None = None
    for tag in AUTOMATIC_NVIDIA:
        build = BUILDS[tag]
        if driver is not None and build.min_driver is not None and driver < build.min_driver:
            continue
        usable = sum(covers(build, capability) for capability in capabilities)
        if usable and (best is None or usable > best[0]):
            best = (usable, tag)
    if best is not None:
        reason = f"{hardware.describe()}"
        return Choice(best[1], reason, _left_out(hardware.gpus, BUILDS[best[1]]))
    if not capabilities:  # an old nvidia-smi that does not tell the capability
        tag = "cu130" if driver is not None and driver >= 580 else "cu126"
        return Choice(tag, f"{hardware.describe()}; its compute capability is not known")
    for tag in AUTOMATIC_NVIDIA:
        if any(covers(BUILDS[tag], capability) for capability in capabilities):
            need = BUILDS[tag].min_driver
            advice = f"Update the NVIDIA driver ({hardware.driver}) to {need} or newer."
            return Choice(tag, hardware.describe(), (advice,))
    return Choice("cpu", f"{hardware.describe()} is too old for this PyTorch")


def _left_out(gpus: tuple[Gpu, ...], build: TorchBuild) -> tuple[str, ...]:
    return tuple(
        f"{gpu.name} is left out: PyTorch for {build.title} has no kernels for it."
        for gpu in gpus
        if isinstance(gpu.capability, tuple) and not covers(build, gpu.capability)
    )


def _for_amd(hardware: Hardware) -> Choice:
    if hardware.system != "Linux":
        advice = "PyTorch has no ROCm build for Windows; on Linux the card can be used."
        return Choice("cpu", hardware.describe(), (advice,))
    rocm = BUILDS["rocm7.2"]
    if any(gpu.capability in rocm.gfx for gpu in hardware.gpus):
        return Choice(rocm.tag, hardware.describe())
    advice = f"{rocm.title} has no kernels for it; to try it all the same: --torch {rocm.tag}"
    return Choice("cpu", hardware.describe(), (advice,))


def index_base() -> str:
    """Return the folder of PyTorch's own package indexes; KOHYA_TORCH_INDEX names a mirror."""
    return os.environ.get("KOHYA_TORCH_INDEX", "https://download.pytorch.org/whl").rstrip("/")


def index_url(tag: str) -> str | None:
    """Return PyTorch's own index for a build, or None where the package index has the right one."""
    return None if tag == "mps" else f"{index_base()}/{tag}"
