"""What a user can get wrong is told at once, with the option and a remedy; nothing is lost."""

from __future__ import annotations

import os
import pickle
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sd_scripts.errors import Problem
from sd_scripts.runs.events import WarningEvent
from sd_scripts.train import loop, preflight, run
from sd_scripts.train.session import Session
from sd_scripts.weights.files import read_metadata
from tests.support.jobs import TinyJob, draw_pictures
from tests.support.tiny_models import make_tiny_checkpoint, make_tiny_folder


class Harmful:
    """Runs code when it is unpickled without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.mark),))


def refused(job: TinyJob, capsys: pytest.CaptureFixture[str], **changes: object) -> list[Problem]:
    """Run a job that must be refused, in both ways; returns its problems."""
    checked = job.run("check", "--check_only", **changes)
    told = capsys.readouterr().err
    assert checked == 2
    assert "Error [" in told
    assert "→" in told
    assert not (job.place / "check").exists()
    assert job.run("run", **changes) == 2
    capsys.readouterr()
    if not (job.place / "run" / "events.jsonl").exists():
        options = [line.partition("[")[2].partition("]")[0] for line in told.splitlines()]
        return [Problem(told, option, "told") for option in options if option]
    end = job.end()
    assert end.status == "failed"
    assert not any(event.type == "step" for event in job.events())
    errors = [problem for problem in end.problems if problem.severity == "error"]
    assert all(problem.hint for problem in errors)
    assert not list((job.place / "output").glob("*"))
    return errors


def one(problems: list[Problem], option: str, *words: str) -> None:
    """Check that one problem names the option and says these words."""
    found = [p for p in problems if option in (p.option or "")]
    assert found, problems
    assert any(all(word in p.message for word in words) for p in found), found


def test_missing_model(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    job.model = job.place / "nothing.safetensors"
    one(refused(job, capsys), "pretrained_model_name_or_path", "nothing.safetensors")


def test_truncated_model(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    whole = job.model.read_bytes()
    job.model = job.place / "cut.safetensors"
    job.model.write_bytes(whole[: len(whole) // 2])
    one(refused(job, capsys), "pretrained_model_name_or_path", "cut.safetensors")


def test_empty_and_unreadable_model(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    job.model = job.place / "empty.safetensors"
    job.model.touch()
    one(refused(job, capsys), "pretrained_model_name_or_path", "empty.safetensors")
    folder = job.place / "no model here"
    folder.mkdir()
    job.model = folder
    one(refused(job, capsys), "pretrained_model_name_or_path", "no model here")


def test_lora_as_model(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.run("first", max_train_epochs=1, output_dir=str(job.place / "lora")) == 0
    job.model = job.place / "lora" / "cat.safetensors"
    problems = refused(job, capsys)
    one(problems, "pretrained_model_name_or_path", "LoRA")


def test_vae_as_model(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_tiny_folder("sd1", job.place / "folder")
    job.model = next((folder / "vae").glob("*.safetensors"))
    one(refused(job, capsys), "pretrained_model_name_or_path", "VAE")


def test_pickle_with_code_is_not_run(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    mark = job.place / "code was run"
    job.model = job.place / "harmful.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Harmful(mark)}, job.model)
    one(refused(job, capsys), "pretrained_model_name_or_path", "harmful.ckpt")
    job.model = job.place / "plain.ckpt"
    job.model.write_bytes(pickle.dumps(Harmful(mark)))
    one(refused(job, capsys), "pretrained_model_name_or_path", "plain.ckpt")
    assert not mark.exists()


def test_missing_tensors(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file

    tensors = load_file(job.model)
    name = next(name for name in tensors if "input_blocks.1.0" in name)
    del tensors[name]
    job.model = job.place / "incomplete.safetensors"
    save_file(tensors, job.model)
    one(refused(job, capsys), "pretrained_model_name_or_path", "missing")


def test_no_pictures(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    empty = job.place / "empty"
    empty.mkdir()
    one(refused(job, capsys, train_data_dir=str(empty)), "train_data_dir")
    shutil.rmtree(job.place / "run")
    one(refused(job, capsys, train_data_dir=str(job.place / "no folder")), "train_data_dir")


def test_corrupt_picture_is_skipped_by_name_or_refused(
    job: TinyJob, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job.place / "pictures" / "2_cat"
    good = (folder / "picture 0.png").read_bytes()
    (folder / "broken.png").write_bytes(good[: len(good) // 2])
    (folder / "no picture.png").write_text("this is text")
    problems = refused(job, capsys, bad_images="error")
    one(problems, "bad_images", "broken.png", "no picture.png")
    shutil.rmtree(job.place / "run")
    assert job.run(max_train_epochs=1) == 0
    told = " ".join(e.text for e in job.events() if isinstance(e, WarningEvent))
    assert "broken.png" in told
    assert "no picture.png" in told
    assert len(job.losses()) == 4


@pytest.mark.parametrize("cached", [True, False])
def test_picture_that_breaks_while_it_is_decoded(job: TinyJob, cached: bool) -> None:
    """A picture whose header and end are fine, but whose middle is not."""
    folder = draw_pictures(job.place / "elsewhere", 1, (300, 300))
    path = job.place / "pictures" / "2_cat" / "torn.png"
    shutil.move(folder / "picture 0.png", path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    assert job.run(max_train_epochs=1, cache_latents=cached) == 0
    told = " ".join(e.text for e in job.events() if isinstance(e, WarningEvent))
    assert "torn.png" in told
    assert len(job.losses()) == 4


def test_captions_missing_empty_and_in_another_encoding(job: TinyJob) -> None:
    folder = job.place / "pictures" / "2_cat"
    (folder / "picture 0.txt").unlink()
    (folder / "picture 1.txt").write_text("")
    (folder / "picture 2.txt").write_bytes("Kätzchen, schön".encode("cp1252"))
    assert job.run(max_train_epochs=1) == 0
    told = " ".join(e.text for e in job.events() if isinstance(e, WarningEvent))
    assert "picture 2.txt" in told
    assert "caption" in told


def test_every_mistake_is_told_at_once(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {
        "network_dim": 0,
        "learning_rate": -1,
        "max_train_epochs": 0,
        "mixed_precision": "bf17",
        "resolution": "banana",
        "train_batch_size": "many",
    }
    told = {problem.option for problem in refused(job, capsys, **changes)}
    assert set(changes) <= told


def test_what_is_wrong_around_a_job_is_told_at_once(
    job: TinyJob, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check and a start tell the same: files, folders, and what the machine cannot do."""
    changes = {
        "pretrained_model_name_or_path": str(job.place / "nothing.safetensors"),
        "train_data_dir": str(job.place / "nowhere"),
        "vae": str(job.place / "no.vae"),
        "mixed_precision": "fp16",
        "xformers": True,
    }
    if torch.cuda.is_available():  # where these two may well be possible
        del changes["mixed_precision"], changes["xformers"]
    assert {problem.option for problem in refused(job, capsys, **changes)} == set(changes)
    assert job.run("check", "--check_only", **changes) == 2
    told = capsys.readouterr().err
    assert all(f"Error [{option}]" in told for option in changes)


def test_unknown_key_has_a_suggestion(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.run("run", "--netwrok_dim", "4") == 2
    told = capsys.readouterr().err
    assert "netwrok_dim" in told
    assert "network_dim" in told
    config = job.place / "job.toml"
    config.write_text("[network]\nnetwork_dimm = 4\n", encoding="utf-8")
    assert job.run("run", "--config_file", str(config)) == 2
    told = capsys.readouterr().err
    assert "network_dimm" in told
    assert "network_dim" in told


def test_odd_resolutions(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    one(refused(job, capsys, resolution="32"), "resolution")
    shutil.rmtree(job.place / "run", ignore_errors=True)
    assert job.run(resolution="72,100", enable_bucket=True, max_train_epochs=1) == 0


def test_broken_prompt_line(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = job.place / "prompts.txt"
    prompts.write_text("a cat --s 5\na dog --s lots\na bird --bogus 1\n", encoding="utf-8")
    problems = refused(job, capsys, sample_prompts=str(prompts), sample_every_n_epochs=1)
    one(problems, "sample_prompts", "line 2")
    one(problems, "sample_prompts", "line 3")


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_output_folder_that_cannot_be_written(
    job: TinyJob,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    target = job.place / "target"
    if kind == "file":
        target.write_text("not a folder")
        output = target / "output"
    else:
        target.mkdir()
        output = target
        # Root may write everywhere: what the system would answer anybody else.
        asked = os.access
        monkeypatch.setattr(
            preflight.os,
            "access",
            lambda path, mode: Path(path) != target and asked(path, mode),
        )
    one(refused(job, capsys, output_dir=str(output)), "output_dir")


def test_full_disk_is_told_before_training(
    job: TinyJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**5))
    one(refused(job, capsys), "output_dir", "free")


def test_wrong_family_option_loses_against_the_fact(job: TinyJob) -> None:
    assert job.run(v2=True, max_train_epochs=1) in (0, 2)
    told = [e.text for e in job.events() if isinstance(e, WarningEvent)]
    told += [problem.message for problem in job.end().problems]
    assert any("v2" in text or "Stable Diffusion 1" in text for text in told)


def test_clip_skip_beyond_the_encoder(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    one(refused(job, capsys, clip_skip=50), "clip_skip", "50")


def test_clip_skip_has_no_effect_on_sdxl_and_that_is_told(job: TinyJob) -> None:
    job.model = make_tiny_checkpoint("sdxl", job.place / "xl.safetensors")
    assert job.run(clip_skip=2, max_train_epochs=1) == 0
    options = [e.option for e in job.events() if isinstance(e, WarningEvent)]
    assert "clip_skip" in options


def test_no_state_to_resume(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    one(refused(job, capsys, resume=str(job.place / "pictures")), "resume")


@pytest.mark.parametrize(("option", "changes"), [
    ("vae", {"vae": "{odd}"}),
    ("optimizer_args", {"optimizer_args": ["betas=2.0,3.0"]}),
    ("learning_rate", {"lr_scheduler": "polynomial", "learning_rate": 1e-8}),
    ("logging_dir", {"logging_dir": "{odd}"}),
    ("cache_dir", {"cache_dir": "{odd}"}),
    ("metadata_thumbnail", {"metadata_thumbnail": "{place}"}),
])  # fmt: skip
def test_a_check_finds_what_a_start_would_refuse(
    job: TinyJob,
    capsys: pytest.CaptureFixture[str],
    option: str,
    changes: dict[str, object],
) -> None:
    odd = job.place / "odd.safetensors"
    save_file({"a": torch.zeros(2)}, odd)
    given = {
        name: value.format(odd=odd, place=job.place) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    one(refused(job, capsys, **given), option)


def test_a_state_of_another_network(job: TinyJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.run("first", save_state=True, max_train_epochs=1) == 0
    shutil.rmtree(job.place / "output")
    problems = refused(job, capsys, resume=str(job.place / "first"), network_dim=3)
    one(problems, "resume", "another training")


def test_a_thumbnail_that_goes_meanwhile_costs_nothing(
    job: TinyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnail = job.place / "thumbnail.png"
    shutil.copy(job.place / "pictures" / "2_cat" / "picture 0.png", thumbnail)
    whole = loop.train

    def train(session: Session) -> str:
        thumbnail.unlink()
        return whole(session)

    monkeypatch.setattr(run, "train", train)
    assert job.run(metadata_thumbnail=str(thumbnail), max_train_epochs=1) == 0
    metadata = read_metadata(job.place / "output" / "cat.safetensors")
    assert metadata["modelspec.thumbnail"].startswith("data:image/png;base64,")
