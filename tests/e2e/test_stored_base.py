"""A base in fewer bits, from start to end: what is told, what is in the file, and exact resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts.options.jobs import TrainTextualInversionJob
from sd_scripts.weights.files import read_metadata
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import make_tiny_checkpoint


@pytest.fixture
def job(tmp_path: Path) -> TinyJob:
    draw_pictures(tmp_path / "pictures")
    return TinyJob(tmp_path, make_tiny_checkpoint("sd1", tmp_path / "model.safetensors"))


def test_a_lora_on_a_base_in_int8_resumes_exactly(
    job: TinyJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job.options |= {"quantize_base": "int8", "conv_dim": 2, "max_train_epochs": 2}
    job.options |= {"network_dropout": 0.3, "save_every_n_steps": 3, "save_state": True}
    assert job.run("whole", "--check_only", output_name="whole") == 0
    assert "of the base in int8" in capsys.readouterr().out
    assert job.run("whole", output_name="whole") == 0
    assert "of the base in int8" in (job.place / "whole" / "train.log").read_text("utf-8")
    state = job.place / "whole" / "state" / "whole-step00000003-state"
    assert job.run("part", output_name="part", resume=str(state)) == 0
    assert equal(job.tensors("whole"), job.tensors("part"))
    told = read_metadata(job.place / "output" / "whole.safetensors")
    assert told["ss_quantize_base"] == "int8"
    assert told["ss_fp8_base"] == "False"


def test_a_word_is_learned_on_a_unet_in_fp8(job: TinyJob) -> None:
    job.job_type = TrainTextualInversionJob
    job.options |= {"network_dim": None, "token_string": "mycat", "max_train_epochs": 1}
    job.options |= {"use_object_template": True}
    job.options |= {"fp8_base_unet": True, "mixed_precision": "bf16", "opt_channels_last": True}
    assert job.run() == 0
    assert all(loss > 0 for loss in job.losses().values())
    log = (job.place / "run" / "train.log").read_text("utf-8")
    assert "of the base in fp8" in log
    assert "channels last" in log
