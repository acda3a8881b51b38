"""The form filled with what ships: a job that can start as it stands."""

from __future__ import annotations

from pathlib import Path

from kohya_gui.forms.starter import TRIGGER, starter_draft, starter_is_there
from sd_scripts.options.form_values import from_form
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values


def test_the_starter_fills_a_whole_job() -> None:
    assert starter_is_there()
    draft = starter_draft()
    job = job_from_values(TrainNetworkJob, from_form(TrainNetworkJob, draft.values))
    assert (Path(job.model.pretrained_model_name_or_path) / "model_index.json").is_file()
    assert job.data.train_data_dir is not None
    captions = list(Path(job.data.train_data_dir).glob("*.txt"))
    assert captions
    assert all(TRIGGER in caption.read_text(encoding="utf-8") for caption in captions)
    assert TRIGGER in draft.prompts
