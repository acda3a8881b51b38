"""The GUI asks what a model is without torch, not even by a detour."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy")


def test_detection_imports_nothing_heavy(sd1) -> None:
    code = (
        "import json, sys\n"
        "from sd_scripts.families.detect import inspect_model\n"
        f"print(inspect_model({str(sd1.file)!r}).family)\n"
        f"print(inspect_model({str(sd1.folder)!r}).family)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, modules = done.stdout.splitlines()
    assert (first, second) == ("sd1", "sd1")
    assert not set(HEAVY) & set(json.loads(modules))
