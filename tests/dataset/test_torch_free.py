"""The GUI previews data sets with this package, so it must never bring torch along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sd_scripts.dataset


def test_no_module_reaches_torch():
    folder = Path(sd_scripts.dataset.__file__).parent
    modules = [f"sd_scripts.dataset.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))]
    assert "sd_scripts.dataset.plan" in modules
    heavy = "torch diffusers transformers accelerate gradio numpy"
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {modules!r}];"
        f"print([name for name in {heavy!r}.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
