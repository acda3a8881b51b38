"""What can be tried: models and networks of recent runs, and what their files say of themselves."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms.starter import starter_is_there
from kohya_gui.jobs.store import RunStore, RunSummary
from sd_scripts.errors import UserError
from sd_scripts.families.detect import inspect_model
from sd_scripts.families.recognise import FAMILY_TITLES, recognise
from sd_scripts.options.toml_file import read_toml
from sd_scripts.runs.status import read_facts
from sd_scripts.shipped import STARTER_MODEL
from sd_scripts.train.prompts import PreviewPrompt, read_prompts
from sd_scripts.weights.headers import read_header

NUM_RUNS: Final = 12
"""So many of the newest trainings are offered."""
NUM_WORDS: Final = 12
_NETWORK_JOBS: Final = frozenset({"train_network", "train_textual_inversion"})
_MODEL_JOBS: Final = frozenset({"train_db", "fine_tune"})
_STAGE: Final = r"(?:-\d{6}|-step\d{8})?"


@dataclass(frozen=True)
class RunOffer:
    """A training whose results can be tried: its base model as an order names it, its files in the
    order of training, the last one last."""

    run_id: str
    name: str
    base: Mapping[str, Any]
    files: tuple[str, ...]
    whole_models: bool


def recent_runs(store: RunStore) -> list[RunOffer]:
    """Return the newest trainings that have saved something, newest first."""
    found: list[RunOffer] = []
    for run in store.list():
        if len(found) >= NUM_RUNS:
            break
        offer = offer_of(run)
        if offer is not None and offer.files:
            found.append(offer)
    return found


def offer_of(run: RunSummary) -> RunOffer | None:
    """Return what a run has to try; None if it is no training, or cannot be read."""
    if run.job not in _NETWORK_JOBS | _MODEL_JOBS:
        return None
    values = _values(run)
    path = values.get("pretrained_model_name_or_path")
    start = read_facts(run.folder.events).start
    if start is None or not isinstance(path, str):
        return None
    names = ("vae", "clip_skip", "v2", "v_parameterization")
    base = {"path": path, **{name: values[name] for name in names if values.get(name) is not None}}
    folder = Path(start.output_dir) if start.output_dir else run.folder.output
    files = saved_files(folder, start.name or run.name)
    return RunOffer(run.id, run.name, base, files, run.job in _MODEL_JOBS)


def saved_files(folder: Path, name: str) -> tuple[str, ...]:
    """Return the files that a training called `name` has saved there, by the time of saving."""
    wanted = re.compile(re.escape(name) + _STAGE + r"\.(?:safetensors|ckpt|pt)")
    try:
        found = [one for one in folder.iterdir() if wanted.fullmatch(one.name) and one.is_file()]
        return tuple(str(one) for one in sorted(found, key=lambda one: one.stat().st_mtime_ns))
    except OSError:
        return ()


def prompts_of(run: RunSummary) -> list[PreviewPrompt]:
    """Return the sample prompts of a run, as far as they can be read."""
    path = _values(run).get("sample_prompts")
    return read_prompts(Path(path))[0] if isinstance(path, str) and path else []


def _values(run: RunSummary) -> Mapping[str, Any]:
    try:
        return read_toml(run.folder.config.read_text("utf-8"), run.folder.config.name)
    except (OSError, UserError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def base_facts(path: str) -> dict[str, Any]:
    """Return what a base model is: its family, and the values that suit it.

    Raises `UserError` for what is no model.
    """
    info = inspect_model(path)
    family = info.family
    if family is None or info.kind not in ("checkpoint", "diffusers"):
        raise UserError(
            f"{Path(path).name} is no base model",
            hint="Choose a checkpoint file or a folder in diffusers' layout.",
        )
    small = starter_is_there() and Path(path).expanduser().absolute() == STARTER_MODEL
    wide = family == "sd2" and info.prediction_type == "v_prediction"
    side = 128 if small else 1024 if family == "sdxl" else 768 if wide else 512
    long, short = {128: (128, 96), 512: (768, 512), 768: (1024, 768), 1024: (1216, 832)}[side]
    return {
        "family": family,
        "title": "" if small else FAMILY_TITLES[family],
        "sizes": [[side, side], [short, long], [long, short]],
        "steps": 20 if small else 25,
        "scale": 4 if small else 7,
        "sampler": "ddim" if small else "euler_a",
        "starter": small,
    }


def network_facts(path: str) -> dict[str, Any]:
    """Return what a network's or embedding's file says of itself.

    `words` are the tags that its pictures had most often, with how many had them. Raises
    `UserError` for what is neither.
    """
    file = Path(path).expanduser()
    header = read_header(file)
    found = recognise(header.tensors)
    if found.kind not in ("lora", "embedding"):
        raise UserError(
            f"{file.name} is {found.what}",
            hint="Choose a LoRA, a LyCORIS file or an embedding.",
        )
    told = header.metadata
    trigger = told.get("modelspec.trigger_phrase") or ""
    return {
        "path": str(file),
        "name": file.stem,
        "kind": "word" if found.kind == "embedding" else "network",
        "family": found.family,
        "title": FAMILY_TITLES[found.family] if found.family else "",
        "trigger": trigger[:100],
        "words": common_tags(told.get("ss_tag_frequency", "")),
        "rank": told.get("ss_network_dim", ""),
    }


def common_tags(frequencies: str) -> list[list[Any]]:
    """Return the most frequent tags of `ss_tag_frequency` with their counts."""
    try:
        by_folder = json.loads(frequencies) if frequencies else {}
    except ValueError:
        return []
    counted: Counter[str] = Counter()
    folders = by_folder.values() if isinstance(by_folder, dict) else ()
    for tags in folders:
        if not isinstance(tags, dict):
            continue
        for tag, number in tags.items():
            if isinstance(number, int) and (shown := str(tag).strip()):
                counted[shown[:100]] += number
    return [[tag, number] for tag, number in counted.most_common(NUM_WORDS)]
