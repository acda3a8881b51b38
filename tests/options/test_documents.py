"""The documents made from options are up to date, and the package opens without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sd_scripts.options import docs
from sd_scripts.options.toml_file import all_specs

MODULES = sorted(
    ".".join(path.relative_to(docs.DOCUMENT.parents[1]).with_suffix("").parts)
    for path in Path(docs.__file__).parent.rglob("*.py")
    if path.name != "__init__.py"
)


def test_the_document_is_up_to_date() -> None:
    assert docs.main(["--check"]) == 0


def test_the_document_tells_of_every_option() -> None:
    text = docs.document()
    for name in all_specs():
        assert f"#### `{name}`\n" in text
    assert len(set(text.split("\n#### "))) == text.count("\n#### ") + 1  # nothing twice


def test_the_document_tells_what_sd_scripts_does_not_know() -> None:
    options = {text.split("`")[0]: text for text in docs.document().split("\n#### `")[1:]}
    for name in ("use_ema", "picture_decisions", "conv_dim", "seed", "thresh"):
        own = name in ("use_ema", "picture_decisions")
        assert ("sd-scripts does not know it." in options[name]) == own, name


def test_a_stale_document_is_noticed_and_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "DOCUMENT", tmp_path / "options.md")
    monkeypatch.setattr(docs, "COMPATIBILITY", tmp_path / "compatibility.md")
    assert docs.main(["--check"]) == 1
    assert docs.main(["--write"]) == 0
    assert docs.main(["--check"]) == 0
    for path in (docs.DOCUMENT, docs.COMPATIBILITY):
        path.write_text("old", encoding="utf-8")
        assert docs.main(["--check"]) == 1
    assert docs.main([]) == 2


def test_nothing_of_it_imports_torch_or_the_gui() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'accelerate', 'gradio', 'kohya_gui', 'numpy'}"
    code = f"import sys, {', '.join(MODULES)}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
