"""A checkout in small: the real setup.sh and tools/setup, but tiny packages from a folder."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
GUI = """\
'''Stands for the real GUI.'''
import sys
import tiny_base
print("GUI", sys.argv[1:], "tiny_base", tiny_base.VERSION, sys.prefix)
"""


def make_wheel(folder: Path, name: str, version: str, code: str) -> tuple[Path, str]:
    """Write a wheel with one module (and one big file); return it and its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": code.encode(),
        f"{name}/data.bin": bytes(range(256)) * 400,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_hash(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2025, 1, 1, 0, 0, 0)), data)
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


@dataclass
class SmallWorld:
    """One checkout and the folder that its packages come from."""

    root: Path
    wheels: Path

    @classmethod
    def make(cls, root: Path, wheels: Path) -> SmallWorld:
        """Lay out a checkout at `root` whose lock pins tiny packages in `wheels`."""
        (root / "kohya_gui").mkdir(parents=True)
        (root / "kohya_gui" / "__init__.py").write_text("")
        (root / "kohya_gui" / "__main__.py").write_text(GUI)
        (root / "tools").mkdir()
        (root / "tools" / "__init__.py").write_text("")
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "tools" / "setup", root / "tools" / "setup", ignore=ignore)
        shutil.copy2(PROJECT / "setup.sh", root / "setup.sh")
        world = cls(root, wheels)
        world.pin("base", "tiny_base", "1.0")
        for extra in ("8bit", "xformers", "trackers", "optimizers", "keyring", "test"):
            world.pin(extra, f"tiny_{extra}", "1.0")
        make_wheel(wheels, "torch", "2.13.0+cpu", "__version__ = '2.13.0+cpu'\n")
        (root / "tools" / "setup" / "locked" / "torch.txt").write_text("torch==2.13.0\n")
        return world

    def pin(self, part: str, name: str, version: str, sha256: str | None = None) -> None:
        """Make a package of this version and pin it, by its hash or by the one given."""
        _, real = make_wheel(self.wheels, name, version, f"VERSION = '{version}'\n")
        text = f"# by hand\n{name}=={version} \\\n    --hash=sha256:{sha256 or real}\n"
        (self.root / "tools" / "setup" / "locked" / f"{part}.txt").write_text(text)

    def environment(self, *, online: bool = True) -> dict[str, str]:
        """Return an environment where pip knows the wheels' folder (or, offline, nothing)."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "KOHYA_", "PYTHON", "DISPLAY", "WAYLAND"))
        }
        sources = self.wheels if online else self.wheels / "gone"
        return kept | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_FIND_LINKS": os.fspath(sources),
            "KOHYA_TORCH_INDEX": "http://127.0.0.1:9",
            "KOHYA_PYTHON": sys.executable,
        }

    def start(self, *words: str, online: bool = True, **variables: str) -> subprocess.Popen[str]:
        """Begin `setup.sh` from another folder, as its own session."""
        return subprocess.Popen(
            [os.fspath(self.root / "setup.sh"), *words],
            cwd=self.wheels,
            env=self.environment(online=online) | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def setup(self, *words: str, online: bool = True, **variables: str) -> tuple[int, str]:
        """Run `setup.sh` with these words; return its exit code and what it said."""
        process = self.start(*words, online=online, **variables)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def copy(self, root: Path) -> SmallWorld:
        """Copy the checkout as it stands, .venv and all."""
        shutil.copytree(self.root, root, symlinks=True)
        return SmallWorld(root, self.wheels)

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / "kohya_setup.json"

    @property
    def packages(self) -> Path:
        (folder,) = (self.root / ".venv" / "lib").glob("python3*/site-packages")
        return folder
