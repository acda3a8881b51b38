"""Writes tools/setup/locked/: every dependency with hashes, one resolution for all systems.

PyTorch is the exception: which file of it is right depends on the hardware, so `torch.txt` there
pins its version only and `tools/setup` chooses the build. What PyTorch itself needs from the
package index is pinned here like everything else.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.setup.environment import EXTRAS, IMPLIED

LOWEST_PYTHON = "3.11"
NEXT_PYTHON = "python_full_version < '3.14'"
# Requires-Dist of the PyTorch 2.13 wheels, less what belongs to one kind of hardware.
NEEDED_BY_TORCH = (
    "filelock",
    "fsspec",
    "jinja2",
    "networkx",
    "setuptools",
    "sympy",
    "typing-extensions",
)

Block = tuple[str, str]  # (first line: name, version and marker; the whole text with its hashes)


def parse_blocks(text: str) -> list[Block]:
    """Split a compiled requirements text into one block a package, without comments and options."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "--no-binary")):
            continue
        if line[0].isspace():
            blocks[-1].append(line.rstrip())
        else:
            blocks.append([line.rstrip()])
    return [(lines[0].removesuffix("\\").strip(), "\n".join(lines)) for lines in blocks]


def simplify(block: Block) -> Block | None:
    """Drop what is true everywhere we run from a block's marker; None for systems we don't."""
    head, text = block
    requirement, _, marker = head.partition(";")
    requirement, marker = requirement.strip(), marker.strip()
    if "sys_platform == 'emscripten'" in marker:
        return None
    always = "|".join(re.escape(part) for part in (NEXT_PYTHON, "sys_platform != 'emscripten'"))
    kept = re.sub(rf"(?:^| and )(?:{always})", "", marker).removeprefix(" and ").strip()
    kept = re.sub(r"^\((.*)\)$", r"\1", kept)
    new_head = f"{requirement} ; {kept}" if kept else requirement
    return new_head, text.replace(head, new_head, 1)


def compile_set(root: Path, uv: Sequence[str], extra: str | None, upgrade: Sequence[str]) -> str:
    """Resolve the base set, or the base set with one extra, with uv; return its text."""
    with tempfile.TemporaryDirectory() as folder:
        needed = Path(folder, "needed-by-torch.in")
        needed.write_text("\n".join(NEEDED_BY_TORCH) + "\n", encoding="utf-8")
        excluded = Path(folder, "excluded.txt")
        excluded.write_text("torch\ntriton\n", encoding="utf-8")
        command = [*uv, "pip", "compile", "pyproject.toml", os.fspath(needed)]
        command += ["--universal", "--python-version", LOWEST_PYTHON, "--generate-hashes"]
        command += ["--excludes", os.fspath(excluded), "--no-annotate", "--no-header", "--quiet"]
        current = sorted((root / "tools" / "setup" / "locked").glob("*.txt"))
        pins = Path(folder, "current.txt")
        pins.write_text(_preferences(current, upgrade), encoding="utf-8")
        command += ["--output-file", os.fspath(pins)]
        if extra:
            command += ["--extra", extra]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        return pins.read_text(encoding="utf-8")


def _preferences(files: Sequence[Path], upgrade: Sequence[str]) -> str:
    """Return what is locked now, which uv keeps where it still fits, less what to upgrade."""
    if "*" in upgrade:
        return ""
    seen: dict[str, str] = {}
    for file in files:
        for head, text in parse_blocks(file.read_text(encoding="utf-8")):
            if re.split(r"[=<> ;\[]", head, maxsplit=1)[0] not in (*upgrade, "torch"):
                seen[head] = text
    return "\n".join(seen.values()) + "\n"


def torch_pin(root: Path) -> str:
    """Return the exact `torch==…` of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pin,) = [need for need in project["dependencies"] if need.startswith("torch==")]
    return str(pin)


def lock_texts(root: Path, uv: Sequence[str], upgrade: Sequence[str]) -> dict[str, str]:
    """Return the new content of every file of tools/setup/locked/, by file name."""
    texts = {
        "torch.txt": _with_title("the version; tools/setup chooses the build", torch_pin(root))
    }
    base = _blocks_of(compile_set(root, uv, None, upgrade))
    blocks = {"base": base}
    for extra in EXTRAS:
        everything = _blocks_of(compile_set(root, uv, extra, upgrade))
        known = dict(base)
        for part in IMPLIED.get(extra, ()):
            known |= blocks[part]
        if missing := [head for head in known if extra != "test" and head not in everything]:
            raise SystemExit(f"lock: extra {extra} needs other versions of {', '.join(missing)}")
        blocks[extra] = {head: text for head, text in everything.items() if head not in known}
    for name, found in blocks.items():
        texts[f"{name}.txt"] = _with_title(
            "what every start needs" if name == "base" else f"what the extra '{name}' adds",
            "\n".join(found[head] for head in sorted(found)),
        )
    return texts


def _blocks_of(text: str) -> dict[str, str]:
    return dict(kept for block in parse_blocks(text) if (kept := simplify(block)))


SOURCE_ONLY: Final = ("dadaptation",)


def _with_title(title: str, body: str) -> str:
    # Set-up takes ready-made packages only; these few are published as source alone.
    named = {line.partition("==")[0] for line in body.splitlines()}
    source = "".join(f"--no-binary {name}\n" for name in SOURCE_ONLY if name in named)
    return f"# Written by tools/lock, not by hand: {title}.\n{source}{body}\n"


def main(argv: Sequence[str], root: Path) -> int:
    """Write tools/setup/locked/ anew, or with `--check` say whether it is up to date (online)."""
    parser = argparse.ArgumentParser(prog="tools/lock", description=__doc__)
    parser.add_argument("--uv", help="the uv program (default: uv, or python -m uv)")
    parser.add_argument("--upgrade", action="append", default=[], metavar="NAME|*")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit 1 on a difference"
    )
    arguments = parser.parse_args(argv)
    uv = [arguments.uv] if arguments.uv else [sys.executable, "-m", "uv"]
    changed = []
    for name, text in lock_texts(root, uv, arguments.upgrade).items():
        file = root / "tools" / "setup" / "locked" / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        changed.append(name)
        if not arguments.check:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
    print(f"lock: {', '.join(changed) if changed else 'nothing'} changed")
    return 1 if changed and arguments.check else 0
