"""Which weights of a whole model learn, at which rates, under which names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadedModel, LoadOptions
from sd_scripts.families.detect import FamilyName
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.full import FullMethod, block_number
from sd_scripts.options.jobs import FineTuneJob, TrainDbJob
from sd_scripts.options.values import job_from_values
from tests.support.tiny_models import FAMILY_NAMES, make_tiny_checkpoint


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[FamilyName, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {f: make_tiny_checkpoint(f, folder / f"{f}.safetensors") for f in FAMILY_NAMES}


def method_of(path: Path, family: FamilyName, **values: object) -> FullMethod:
    """Attach the method to a model without memory for its weights."""
    kind = FineTuneJob if values.pop("fine_tune", False) else TrainDbJob
    needed = {"pretrained_model_name_or_path": str(path), "train_data_dir": "d"}
    model: LoadedModel = FAMILIES[family].load(path, LoadOptions(device="meta"))
    return FullMethod(job_from_values(kind, {**needed, **values}), model)


def rates(method: FullMethod) -> dict[str, float]:
    """Return the rate of each group."""
    return {group["name"]: group["lr"] for group in method.parameter_groups()}


CASES: list[tuple[FamilyName, dict[str, object], dict[str, float]]] = [
    ("sd1", {}, {"text_encoder": 2e-6, "unet": 2e-6}),
    ("sd2", {"learning_rate_te": 1e-6}, {"text_encoder": 1e-6, "unet": 2e-6}),
    ("sd1", {"stop_text_encoder_training": -1}, {"unet": 2e-6}),
    ("sd1", {"stop_text_encoder_training": 0}, {"unet": 2e-6}),
    ("sd1", {"fine_tune": True}, {"unet": 2e-6}),
    ("sd1", {"learning_rate": 0, "learning_rate_te": 1e-6}, {"text_encoder": 1e-6}),
    ("sdxl", {}, {"text_encoder": 2e-6, "unet": 2e-6}),
    (
        "sdxl",
        {"fine_tune": True, "train_text_encoder": True, "learning_rate_te2": 0},
        {"text_encoder_1": 2e-6, "unet": 2e-6},
    ),
    (
        "sdxl",
        {"learning_rate_te": 1e-6, "learning_rate_te1": 3e-6},
        {"text_encoder_1": 3e-6, "text_encoder_2": 1e-6, "unet": 2e-6},
    ),
    (
        "sdxl",
        {"fine_tune": True, "block_lr": ",".join(f"{n}e-6" for n in range(23))},
        {f"unet_block{n}": n * 1e-6 for n in range(1, 23)},
    ),
]


@pytest.mark.parametrize(("family", "values", "expected"), CASES)
def test_groups_have_the_rates_that_were_asked_for(
    paths: dict[FamilyName, Path],
    family: FamilyName,
    values: dict[str, object],
    expected: dict[str, float],
) -> None:
    method = method_of(paths[family], family, **values)
    assert rates(method) == pytest.approx(expected)
    learning = {id(p) for p in method.trainable_modules.parameters() if p.requires_grad}
    grouped = [id(p) for group in method.parameter_groups() for p in group["params"]]
    assert set(grouped) == learning
    assert len(grouped) == len(learning)
    assert method.num_parameters > 0
    assert method.warnings == ()


def test_the_text_encoder_stops_after_its_steps(paths: dict[FamilyName, Path]) -> None:
    method = method_of(paths["sd1"], "sd1", stop_text_encoder_training=3)
    for step, learns in ((0, True), (2, True), (3, False), (9, False)):
        method.after_step(step)
        assert method.trains_text_encoder is learns
    assert set(method.trainable_modules) == {"te1", "unet"}  # a state still holds both
    assert all(p.requires_grad for p in method.trainable_modules["unet"].parameters())


@pytest.mark.parametrize(
    ("family", "values", "idle"),
    [
        ("sd1", {}, set()),
        ("sd1", {"clip_skip": 2}, {"layers.2"}),
        ("sdxl", {}, {"layers.2", "final_layer_norm"}),
    ],
)
def test_what_is_never_computed_with_stays(
    paths: dict[FamilyName, Path], family: FamilyName, values: dict[str, object], idle: set[str]
) -> None:
    first = method_of(paths[family], family, **values).trainable_modules["te1"]
    still = {name for name, p in first.named_parameters() if not p.requires_grad}
    assert {part for part in ("layers.1", "layers.2", "final_layer_norm") for name in still
            if part in name} == idle  # fmt: skip


def test_nothing_to_train_is_told(paths: dict[FamilyName, Path]) -> None:
    with pytest.raises(UserError, match="Nothing would be trained"):
        method_of(paths["sd1"], "sd1", learning_rate=0, stop_text_encoder_training=-1)


def test_options_of_sdxl_are_told_for_other_models(paths: dict[FamilyName, Path]) -> None:
    blocks: Any = {"block_lr": ",".join(["1e-6"] * 23), "learning_rate_te2": 1e-6}
    told = method_of(paths["sd1"], "sd1", **blocks).warnings
    assert {problem.option for problem in told} == {"block_lr", "learning_rate_te2"}


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("time_embed.0.weight", 0),
        ("label_emb.0.0.weight", 0),
        ("input_blocks.0.0.weight", 1),
        ("input_blocks.8.1.norm.weight", 9),
        ("middle_block.2.in_layers.0.weight", 12),
        ("output_blocks.0.0.in_layers.0.weight", 13),
        ("output_blocks.8.1.norm.weight", 21),
        ("out.2.bias", 22),
    ],
)
def test_blocks_are_numbered_as_in_sd_scripts(key: str, number: int) -> None:
    assert block_number(key) == number
