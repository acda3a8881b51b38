"""Run by .venv's own Python: prints as JSON what is installed, or what PyTorch says of itself.

`probe.py packages LOCK_FILE…` compares with the lock; `probe.py torch` imports PyTorch, in a
process of its own since a broken build may take the process down.
"""

import json
import sys
from importlib import metadata


def packages(lock_files: list[str]) -> dict[str, object]:
    """Return pinned packages that are missing or of another version, and which are there."""
    from packaging.requirements import Requirement

    missing, different = [], []
    for lock_file in lock_files:
        with open(lock_file, encoding="utf-8") as lines:
            heads = [line.rstrip("\\\n ") for line in lines if line[0] not in "# \n"]
        for head in heads:
            need = Requirement(head)
            if need.marker is not None and not need.marker.evaluate():
                continue
            try:
                version = metadata.version(need.name)
            except metadata.PackageNotFoundError:
                missing.append(head.partition(" ")[0])
                continue
            if not need.specifier.contains(version, prereleases=True):
                different.append(f"{need.name} {version} (pinned: {need.specifier})")
    return {"missing": missing, "different": different}


def torch_facts() -> dict[str, object]:
    """Return PyTorch's version, its CUDA or ROCm, its kernels, and the devices that it can use."""
    import torch

    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            devices.append(
                {
                    "name": properties.name,
                    "capability": [properties.major, properties.minor],
                    "memory_mib": properties.total_memory // 2**20,
                    "gfx": getattr(properties, "gcnArchName", "").partition(":")[0],
                }
            )
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "arch_list": torch.cuda.get_arch_list() if devices else [],
        "devices": devices,
        "mps": torch.backends.mps.is_available(),
    }


if __name__ == "__main__":
    found = torch_facts() if sys.argv[1] == "torch" else packages(sys.argv[2:])
    print(json.dumps(found))
