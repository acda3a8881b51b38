"""The GUI's process never loads torch or what brings it: it opens fast and survives without. Its
modules keep nothing of anybody."""

from __future__ import annotations

import ast
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


def test_the_whole_application_is_built_without_torch_and_in_one_go(tmp_path: Path) -> None:
    """Gradio makes a server of all pages so far whenever a `with` ends: there is one `with`."""
    code = f"""
import inspect, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(f"the GUI may not load {{name}}")
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from unittest.mock import patch
before = inspect.getfile
from kohya_gui.quick_gradio import gr
assert inspect.getfile is before, "importing Gradio leaves inspect as it was"
assert inspect.getfile(gr.Textbox).endswith("textbox.py")
from gradio.blocks import App
from kohya_gui.app import build
from kohya_gui.context import make_context
from kohya_gui.pages.registry import PAGES
context = make_context(Path({str(tmp_path)!r}), None)
with patch.object(App, "create_app") as served:
    blocks = build(context)
context.close()
assert served.call_count == 2, "one at first, one of all pages"
assert [path for path, *_ in blocks.pages] == [page.path for page in PAGES]
assert set(blocks.get_config_file()["page"]) == {{page.path for page in PAGES}}
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    ended = run(code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"


KNOWN_STATE = frozenset({"_last_seen"})
"""What this machine's cards were when they were last asked: the same for everybody."""
CHANGES = frozenset(
    {
        "append",
        "add",
        "update",
        "setdefault",
        "extend",
        "insert",
        "pop",
        "clear",
        "remove",
        "discard",
        "popitem",
        "sort",
    }
)
"""Methods that change what they are called on."""


def test_no_module_of_the_page_keeps_state_between_people() -> None:
    """Several tabs and people share one program: what changes belongs to an object or a file."""
    found = []
    for path in sorted((ROOT / "kohya_gui").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            target.id
            for node in tree.body
            for target in (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            if isinstance(target, ast.Name)
        }
        changed = [name for node in ast.walk(tree) for name in changed_by(node)]
        found += [(path.name, name) for name in changed if name in names - KNOWN_STATE]
    assert found == []


def changed_by(node: ast.AST) -> list[str]:
    """Return the names of what a piece of code changes in place, or sets for the whole module."""
    if isinstance(node, ast.Global):
        return node.names
    changed: list[ast.expr] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        changed = [node.func.value] if node.func.attr in CHANGES else []
    elif isinstance(node, ast.Assign | ast.Delete):
        changed = [target.value for target in node.targets if isinstance(target, ast.Subscript)]
    elif isinstance(node, ast.AugAssign):
        target = node.target
        changed = [target.value] if isinstance(target, ast.Subscript) else []
    return [one.id for one in changed if isinstance(one, ast.Name)]
