"""Every method goes on exactly: stopped in the middle of an epoch, twice in a row."""

from __future__ import annotations

import json

import pytest

from sd_scripts.families.detect import FamilyName, PredictionType
from sd_scripts.options.jobs import (
    FineTuneJob,
    TrainDbJob,
    TrainingJob,
    TrainTextualInversionJob,
)
from tests.support.jobs import TinyJob, equal
from tests.support.tiny_models import make_tiny_checkpoint

WORD = {"token_string": "mycat7", "init_word": "cat", "caption_prefix": "mycat7,"}
PLAIN = {"network_dim": None}
METHODS: dict[str, tuple[type[TrainingJob] | None, dict[str, object]]] = {
    "lora with an average": (None, {"use_ema": True, "scale_weight_norms": 1e-3}),
    "lycoris": (
        None,
        {
            "network_module": "lycoris.kohya",
            "network_args": ["algo=lokr", "factor=4", "dora_wd=True", "rank_dropout=0.3"],
        },
    ),
    "whole model with an average": (TrainDbJob, {**PLAIN, "use_ema": True}),
    "new word": (TrainTextualInversionJob, {**PLAIN, **WORD}),
    "new word beside a lora": (None, {**WORD, "embedding_lr": 5e-3}),
}
OTHER_FAMILIES: list[tuple[FamilyName, str]] = [
    *(("sd2", method) for method in ("lora", "dreambooth", "new word", "new word beside a lora")),
    *(("sdxl", method) for method in ("lora", "fine-tune", "new word", "new word beside a lora")),
]


@pytest.mark.parametrize(("family", "method"), OTHER_FAMILIES)
def test_other_families_go_on_exactly(job: TinyJob, family: FamilyName, method: str) -> None:
    """SD 2.x with v-prediction, and SDXL: a break in the middle of an epoch of two steps."""
    kind, options = {
        **METHODS,
        "lora": (None, {}),
        "dreambooth": (TrainDbJob, PLAIN),
        "fine-tune": (FineTuneJob, PLAIN),
    }[method]
    prediction: PredictionType | None = "v_prediction" if family == "sd2" else None
    job.model = make_tiny_checkpoint(
        family, job.place / f"{family}.safetensors", prediction_type=prediction
    )
    job.job_type = kind or job.job_type
    if kind is FineTuneJob:
        folder = job.place / "pictures" / "2_cat"
        captions = {str(path): {"caption": "a cat"} for path in sorted(folder.glob("*.png"))}
        metadata = job.place / "captions.json"
        metadata.write_text(json.dumps(captions), encoding="utf-8")
        options = {**options, "train_data_dir": str(folder), "in_json": str(metadata)}
    job.options |= {"max_train_steps": 2, "max_train_epochs": None, "noise_offset": 0.05}
    job.options |= {"save_every_n_steps": 1, "save_state": True, **options}
    assert job.run("whole", output_name="whole") == 0
    first = job.place / "whole" / "state" / "whole-step00000001-state"
    assert job.run("again", output_name="part", resume=str(first)) == 0
    assert job.losses("again") == {2: job.losses("whole")[2]}
    for name in ("{}", "{}_emb") if "embedding_lr" in options else ("{}",):
        assert equal(job.tensors(name.format("whole")), job.tensors(name.format("part")))


@pytest.mark.parametrize("method", METHODS)
def test_two_breaks_in_one_epoch_change_nothing(job: TinyJob, method: str) -> None:
    """Four steps in one go, against a break after the first and another after the third."""
    kind, options = METHODS[method]
    job.job_type = kind or job.job_type
    saves = {"save_every_n_steps": 1, "save_state": True, "max_train_epochs": 1}
    chance = {"shuffle_caption": True, "flip_aug": True, "noise_offset": 0.05}
    job.options |= {**saves, **chance, **options}
    assert job.run("whole", output_name="whole") == 0
    assert len(job.losses("whole")) == 4
    first = job.place / "whole" / "state" / "whole-step00000001-state"
    assert job.run("once", output_name="part", resume=str(first)) == 0
    second = job.place / "once" / "state" / "part-step00000003-state"
    assert job.run("twice", output_name="part", resume=str(second)) == 0
    assert job.losses("twice") == {4: job.losses("whole")[4]}
    for name in ("{}", "{}_emb") if "embedding_lr" in options else ("{}",):
        assert equal(job.tensors(name.format("whole")), job.tensors(name.format("part")))
