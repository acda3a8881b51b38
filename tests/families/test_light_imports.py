"""The lean import leaves out what it should, breaks nothing, and hides nothing for longer."""

from __future__ import annotations

import json
import subprocess
import sys

from sd_scripts.families.light_imports import NOT_NEEDED, hidden_packages
from tests.families.conftest import Stored

CODE = """
import importlib.util, json, sys
import torch
from sd_scripts.families.light_imports import NOT_NEEDED, import_model_libraries
import_model_libraries()
loaded = [name for name in NOT_NEEDED if name in sys.modules]
from diffusers import EulerDiscreteScheduler
from sd_scripts.families.base import LoadOptions
from sd_scripts.families.registry import FAMILIES
model = FAMILIES["sd1"].load(sys.argv[1], LoadOptions())
pipeline = FAMILIES["sd1"].make_pipeline(model, EulerDiscreteScheduler())
pictures = pipeline("a cat", num_inference_steps=1, height=64, width=64, output_type="np").images
import scipy.stats
print(json.dumps([loaded, list(pictures.shape), hasattr(scipy.stats, "beta")]))
"""


def test_optional_packages_stay_out(sd1: Stored) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(sd1.file)], capture_output=True, text=True, check=True
    )
    loaded, shape, later = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    assert shape == [1, 64, 64, 3]
    assert later


def test_hiding_leaves_what_is_imported_already() -> None:
    before = {name: sys.modules.get(name) for name in (*NOT_NEEDED, "json")}
    with hidden_packages([*NOT_NEEDED, "json"]):
        assert sys.modules["json"] is json
    assert {name: sys.modules.get(name) for name in before} == before
