"""Tiny models on disk, written once a session: the same weights as a folder and as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sd_scripts.families.base import Family, LoadedModel, LoadOptions
from sd_scripts.families.detect import FamilyName
from sd_scripts.families.registry import FAMILIES
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint, make_tiny_folder


@dataclass(frozen=True)
class Stored:
    """One family's tiny model, stored both ways; read only."""

    name: FamilyName
    folder: Path
    file: Path

    @property
    def family(self) -> Family:
        return FAMILIES[self.name]

    @property
    def model(self) -> LoadedModel:
        """The model, loaded once and shared: for tests that only read it."""
        if self.name not in _loaded:
            _loaded[self.name] = self.load()
        return _loaded[self.name]

    def load(self, options: LoadOptions | None = None) -> LoadedModel:
        return self.family.load(self.file, options or LoadOptions())


_made: dict[FamilyName, Stored] = {}
_loaded: dict[FamilyName, LoadedModel] = {}


def stored_model(name: FamilyName, base: Path) -> Stored:
    if name not in _made:
        folder, file = base / name, base / f"{name}.safetensors"
        _made[name] = Stored(name, make_tiny_folder(name, folder), make_tiny_checkpoint(name, file))
    return _made[name]


@pytest.fixture(scope="session", params=FAMILY_NAMES)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored_model(request.param, tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="session")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored_model("sd1", tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="session")
def sd2(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored_model("sd2", tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored_model("sdxl", tmp_path_factory.getbasetemp() / "tiny")
