"""From answers to a job: the goal's preset, what the pictures need, and what is still missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import only_changed, raw_of_values
from kohya_gui.forms.presets import FOLDER, read_preset
from kohya_gui.forms.starter import RECIPE, REPEATS
from kohya_gui.guided.goals import GOALS, STAGES, Card, Goal, preset_of
from kohya_gui.guided.length import Length
from kohya_gui.guided.project import Project
from kohya_gui.guided.trigger import count_with
from kohya_gui.jobs.costs import SIDES, Workload, network_bytes, side_of
from kohya_gui.jobs.machine import Machine
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.runs.folder import safe_name
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES

Values = dict[str, Any]

SEED: Final = 42
PAINTED_STEPS: Final = 20
HELD_OUT: Final = 0.1
ENOUGH_TO_HOLD_OUT: Final = 50
"""From so many pictures on, a tenth is held out: below, too few would be left to tell anything."""
_LENGTHS: Final = (
    "max_train_epochs",
    "max_train_steps",
    "save_every_n_epochs",
    "sample_every_n_epochs",
    "sample_every_n_steps",
)
_STARTER_PROMPTS: Final[tuple[str, ...]] = (
    "a large {word} on a blue background",
    "a small {word} on a yellow background",
)
_STARTER_WITHOUT: Final = "a large cat on a green background"


@dataclass(frozen=True)
class Facts:
    """What was found out about model and pictures. `captions` are those of the used pictures."""

    family: str
    prediction_type: str | None = None
    num_parameters: int = 0
    captions: tuple[str, ...] = ()
    caption_extension: str = ".txt"
    decisions: Path | None = None


def is_starter(model: str) -> bool:
    """Whether a model is the one that comes with the program."""
    return bool(model) and Path(model) == STARTER_MODEL


def word_of(project: Project, goal: Goal) -> str:
    """Return the new word together with what it is one of: `zwx woman`."""
    return " ".join(part for part in (project.trigger, kind_of(project, goal)) if part)


def kind_of(project: Project, goal: Goal) -> str:
    """Return what the new word is one of."""
    return project.kind.strip() or goal.words


def prefix_of(project: Project, goal: Goal, captions: tuple[str, ...]) -> str | None:
    """Return the text put before each caption, or None where all of them hold the word already.

    The caption files stay as they are. A comma ends the first tag, which is never shuffled away.
    """
    if not project.trigger or (captions and count_with(project.trigger, captions) == len(captions)):
        return None
    return f"{word_of(project, goal)},"


def prompts_of(project: Project, goal: Goal, facts: Facts) -> tuple[str, ...]:
    """Return the preview prompts with fixed seeds; the last one is without the new word."""
    if is_starter(project.model):
        texts, side = (*_STARTER_PROMPTS, _STARTER_WITHOUT), 128
    else:
        texts, side = (*goal.prompts, goal.without), SIDES[facts.family]
    fields = {"word": word_of(project, goal), "kind": kind_of(project, goal)}
    flags = f"--w {side} --h {side} --s {PAINTED_STEPS} --d {SEED}"
    flags += " --l 4" if is_starter(project.model) else " --l 7"
    return tuple(f"{text.format(**fields)} {flags}" for text in texts)


def base_values(project: Project, facts: Facts, machine: Machine) -> Values:
    """Return the job of a project without its length: preset, answers, then wanted changes."""
    goal = GOALS[project.goal]
    values = _preset_values(project, goal, facts)
    for name in _LENGTHS:
        values.pop(name, None)
    if not machine.has_card:
        values.pop("mixed_precision", None)  # most processors compute in 16 bits more slowly
    values |= {
        "pretrained_model_name_or_path": project.model,
        "train_data_dir": project.folder,
        "output_name": safe_name(project.name, fallback=project.goal),
        "caption_extension": facts.caption_extension,
        "sample_at_first": True,
        "seed": SEED,
    }
    if (prefix := prefix_of(project, goal, facts.captions)) is not None:
        values["caption_prefix"] = prefix
        if values.get("shuffle_caption"):
            values["keep_tokens"] = max(1, values.get("keep_tokens", 0))
    if facts.decisions is not None:
        values["picture_decisions"] = str(facts.decisions)
    return values | project.changes


def _preset_values(project: Project, goal: Goal, facts: Facts) -> Values:
    if is_starter(project.model):
        given = {"reg_data_dir": str(STARTER_PICTURES / "class_all"), "dataset_repeats": REPEATS}
        return {**RECIPE, **given, "save_precision": "fp16", "sample_sampler": "euler_a"}
    name = preset_of(goal, facts.family, facts.prediction_type)
    return dict(read_preset(FOLDER / "lora" / f"{name}.toml").values)


def with_length(values: Mapping[str, Any], length: Length, card: Card, num_pictures: int) -> Values:
    """Return the whole job of a card: how long it learns, saves and paints, what is held out."""
    whole: Values = {
        **values,
        "max_train_steps": length.steps,
        "save_every_n_steps": length.stage,
        "sample_every_n_steps": length.stage,
    }
    if card != "quick" and num_pictures >= ENOUGH_TO_HOLD_OUT:
        whole |= {"validation_split": HELD_OUT, "validate_every_n_steps": length.stage}
    return whole


def saving_memory(values: Values, *, more: bool) -> Values:
    """Return a job that needs less memory: insides computed twice; with `more`, texts cached."""
    small = {**values, "gradient_checkpointing": True, "train_batch_size": 1}
    moves = ("shuffle_caption", "caption_dropout_rate", "caption_tag_dropout_rate")
    still = not any(values.get(name) for name in moves)
    if more and still and values.get("network_train_unet_only"):
        small["cache_text_encoder_outputs"] = True
    return small


def draft_of(values: Mapping[str, Any], prompts: tuple[str, ...]) -> Draft:
    """Return a job's values as the form of the expert page holds them."""
    raw = raw_of_values(TrainNetworkJob, values)
    return Draft(TrainNetworkJob.name, only_changed(TrainNetworkJob, raw), "\n".join(prompts))


def workload_of(
    values: Mapping[str, Any], facts: Facts, steps: int, num_pictures: int, num_prompts: int
) -> Workload:
    """Return what decides the cost of a job."""
    side = side_of(values.get("resolution"), facts.family)
    return Workload(
        family=facts.family,
        num_parameters=facts.num_parameters,
        pixels=side * side,
        batch=int(values.get("train_batch_size", 1)),
        steps=steps,
        result=network_bytes(
            facts.family,
            facts.num_parameters,
            int(values.get("network_dim", 4)),
            int(values.get("conv_dim", 0)),
        ),
        half=values.get("mixed_precision") in ("bf16", "fp16"),
        checkpointing=bool(values.get("gradient_checkpointing")),
        cached_text=bool(values.get("cache_text_encoder_outputs")),
        num_pictures=num_pictures,
        num_painted=num_prompts * (STAGES + 1),
        painted_steps=PAINTED_STEPS,
        num_saved=STAGES + 1,
    )
