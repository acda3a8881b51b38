"""The GUI's process never loads torch or what brings it: it opens fast and survives without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kohya_gui

ROOT = Path(kohya_gui.__file__).resolve().parent.parent
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "bitsandbytes", "lycoris", "peft")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_whole_application_is_built_without_torch(tmp_path: Path) -> None:
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(f"the GUI may not load {{name}}")
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from kohya_gui.app import build
from kohya_gui.context import make_context
context = make_context(Path({str(tmp_path)!r}), None)
blocks = build(context)
context.close()
print(len(blocks.pages), sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    ended = run(code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split(maxsplit=1)[1].strip() == "[]"


def test_importing_gradio_leaves_inspect_as_it_was() -> None:
    code = """
import inspect
before = inspect.getfile
from kohya_gui.quick_gradio import gr
assert inspect.getfile is before
assert inspect.getfile(gr.Textbox).endswith("textbox.py")
"""
    ended = run(code)
    assert ended.returncode == 0, ended.stderr
