"""No option is dead: each is read by a trainer or by the dataset, or noted in the file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sd_scripts.options import docs
from sd_scripts.options.schema import OptionSpec
from sd_scripts.options.toml_file import all_specs

PACKAGE = docs.DOCUMENT.parents[1] / "sd_scripts"

ONLY_UNDERSTOOD = {
    "onnx": "what it asks for is done anyway",
    "sdpa": "what it asks for is done anyway",
}
"""Options that are checked and kept for sd-scripts, but ask for nothing of their own."""


def _attributes(path: Path, *, own_only: bool) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            on_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            if on_self or not own_only:
                yield node.attr


def _read_options() -> set[str]:
    outside = [path for path in PACKAGE.rglob("*.py") if "options" not in path.parts]
    groups = (PACKAGE / "options" / "groups").glob("*.py")
    found = {name for path in outside for name in _attributes(path, own_only=False)}
    return found | {name for path in groups for name in _attributes(path, own_only=True)}


@pytest.fixture(scope="module")
def read_options() -> set[str]:
    return _read_options()


@pytest.mark.parametrize("spec", all_specs().values(), ids=lambda spec: spec.name)
def test_an_option_is_read_somewhere(spec: OptionSpec, read_options: set[str]) -> None:
    only_noted = spec.name == "training_comment" and spec.records
    assert only_noted or (spec.name in read_options) is (spec.name not in ONLY_UNDERSTOOD)
