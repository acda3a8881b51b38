"""What this computer has for training: NVIDIA, AMD or Apple graphics, or none."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.setup.console import Outcome, ask

Ask = Callable[[Sequence[str]], Outcome]

PCI_NVIDIA = "0x10de"
PCI_AMD = "0x1002"
NVIDIA_SMI_PLACES = (
    "/usr/lib/wsl/lib/nvidia-smi",
    r"C:\Windows\System32\nvidia-smi.exe",
    r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
)


@dataclass(frozen=True)
class Gpu:
    """One graphics device; `capability` is NVIDIA's (major, minor) or AMD's name like gfx1100."""

    name: str
    capability: tuple[int, int] | str | None = None
    memory_mib: int | None = None


@dataclass(frozen=True)
class Hardware:
    """The machine as set-up sees it; `trouble` says why a card that is there cannot be used."""

    system: str
    machine: str
    vendor: str  # "nvidia", "amd", "apple" or "none"
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    trouble: str | None = None

    def describe(self) -> str:
        """Return one line for a person."""
        names = ", ".join(gpu.name for gpu in self.gpus)
        if self.vendor == "nvidia" and self.driver:
            known = f", up to CUDA {self.cuda}" if self.cuda else ""
            return f"NVIDIA: {names} (driver {self.driver}{known})"
        titles = {"nvidia": "NVIDIA", "amd": "AMD", "apple": "Apple"}
        title = titles.get(self.vendor)
        return f"{title}: {names or 'graphics'}" if title else "no graphics card for training: CPU"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def detect(question: Ask = ask, sysfs: Path = Path("/sys")) -> Hardware:
    """Look for graphics hardware; asks the driver's own tool, never a Python package."""
    system, machine = platform.system(), platform.machine()
    if system == "Darwin":
        if machine == "arm64":
            return Hardware(system, machine, "apple", (Gpu("Apple silicon"),))
        return Hardware(system, machine, "none")
    nvidia = _nvidia(question, sysfs, system, machine)
    if nvidia is not None and nvidia.trouble is None:
        return nvidia
    amd = _amd_linux(sysfs, machine) if system == "Linux" else None
    if system == "Windows" and nvidia is None:
        amd = _amd_windows(question, machine)
    return amd or nvidia or Hardware(system, machine, "none")


def _nvidia(question: Ask, sysfs: Path, system: str, machine: str) -> Hardware | None:
    """Ask nvidia-smi; without it, a card on the PCI bus means that its driver is missing."""
    tool = shutil.which("nvidia-smi") or next(
        (place for place in NVIDIA_SMI_PLACES if os.path.exists(place)), None
    )
    if tool is None:
        if system == "Linux" and _has_pci_display(sysfs, PCI_NVIDIA):
            return Hardware(system, machine, "nvidia", trouble="its driver is not installed")
        return None
    fields = "name,driver_version,compute_cap,memory.total"
    answer = question([tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    if not answer.ok:
        lines = (answer.stdout + answer.stderr).strip().splitlines() or ["no answer"]
        if "no devices" in lines[0].lower() and not _has_pci_display(sysfs, PCI_NVIDIA):
            return None
        return Hardware(system, machine, "nvidia", trouble=f"its driver says: {lines[0]}")
    gpus, driver = parse_nvidia_smi(answer.stdout)
    if not gpus:
        return None
    banner = re.search(r"CUDA[\w ]*Version:?\s*([\d.]+)", question([tool]).stdout)
    cuda = banner.group(1) if banner else None
    return Hardware(system, machine, "nvidia", gpus, driver, cuda)


def parse_nvidia_smi(text: str) -> tuple[tuple[Gpu, ...], str | None]:
    """Read `name, driver, capability, MiB` lines; return the cards and the driver's version."""
    gpus: list[Gpu] = []
    driver: str | None = None
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 4:
            continue
        name, driver, capability, memory = parts
        major, _, minor = capability.partition(".")
        known = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
        gpus.append(Gpu(name, known, int(memory) if memory.isdigit() else None))
    return tuple(gpus), driver


def _amd_linux(sysfs: Path, machine: str) -> Hardware | None:
    """Read the cards that AMD's compute driver (kfd) offers, by their gfx names."""
    names = []
    nodes = sysfs / "class" / "kfd" / "kfd" / "topology" / "nodes"
    for properties in sorted(nodes.glob("*/properties")):
        try:
            text = properties.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue  # a node that this user may not read is no card to train on
        found = re.search(r"^gfx_target_version\s+(\d+)$", text, re.MULTILINE)
        if found and int(found.group(1)):
            names.append(gfx_name(int(found.group(1))))
    if names:
        gpus = tuple(Gpu(f"AMD {name}", name) for name in names)
        return Hardware("Linux", machine, "amd", gpus)
    if os.path.exists("/opt/rocm") and _has_pci_display(sysfs, PCI_AMD):
        trouble = "ROCm is installed, but its kernel driver (kfd) offers no card"
        return Hardware("Linux", machine, "amd", trouble=trouble)
    return None


def gfx_name(version: int) -> str:
    """Turn the kernel's number into AMD's name: 110000 is gfx1100, 90010 is gfx90a."""
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{step:x}"


def _amd_windows(question: Ask, machine: str) -> Hardware | None:
    query = "Get-CimInstance Win32_VideoController | Select-Object -ExpandProperty Name"
    answer = question(["powershell", "-NoProfile", "-NonInteractive", "-Command", query])
    names = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    amd = [name for name in names if re.search(r"\bAMD\b|Radeon", name, re.IGNORECASE)]
    if not amd:
        return None
    return Hardware("Windows", machine, "amd", tuple(Gpu(name) for name in amd))


def _has_pci_display(sysfs: Path, vendor: str) -> bool:
    """Say whether a display device (PCI class 03) of this vendor is on the bus."""
    for device in (sysfs / "bus" / "pci" / "devices").glob("*"):
        try:
            kind = (device / "class").read_text(encoding="ascii")
            maker = (device / "vendor").read_text(encoding="ascii")
        except OSError:
            continue  # a device without these files is no display
        if kind.startswith("0x03") and maker.strip() == vendor:
            return True
    return False
