"""Both scripts as their own processes: a real start, exit codes, and what a run folder holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sd_scripts.runs.events import EndEvent, read_events
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import read_record
from tests.support.tiny_captioning import make_captioner, make_tagger, paint

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.launch


def launch(module: str, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"sd_scripts.{module}", *map(str, words)],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "option", "extension"),
    [
        ("tag_images_by_wd14_tagger", "--model_dir", ".txt"),
        ("make_captions", "--caption_weights", ".caption"),
    ],
)
def test_a_script_from_a_file_to_its_end(
    tmp_path: Path, module: str, option: str, extension: str
) -> None:
    make = make_tagger if extension == ".txt" else make_captioner
    model = make(tmp_path / "model ä")
    pictures = paint(tmp_path / "my pictures", "red.png", "sub/blue.png")
    (pictures / "bad.png").write_bytes(b"bad")
    config = tmp_path / "job.toml"
    config.write_text("[anything]\nrecursive = true\nbatch_size = 2\n")
    done = launch(module, tmp_path, "--config_file", config, option, model, pictures)
    assert done.returncode == 0, done.stderr
    assert (pictures / f"red{extension}").read_text("utf-8").strip()
    assert (pictures / "sub" / f"blue{extension}").is_file()
    assert not (pictures / f"bad{extension}").exists()
    # Without --run_dir, the run is in the working folder.
    (path,) = (tmp_path / "runs").iterdir()
    run = RunFolder(path)
    end = read_events(run.events)[0][-1]
    assert isinstance(end, EndEvent)
    assert end.status == "finished"
    record = read_record(run)
    assert record is not None
    assert record.job == module
    assert "bad.png" in run.log.read_text("utf-8")
    assert "batch_size = 2" in run.config.read_text("utf-8")
    back = launch("runs.undo", tmp_path, path)
    assert back.returncode == 0, back.stderr
    assert not list(pictures.rglob(f"*{extension}"))


def test_mistakes_end_with_two_and_are_told_together(tmp_path: Path) -> None:
    words = ["nowhere", "--onnx", "--thresh", "7", "--tag_replacement", "x", "--undesired", "y"]
    done = launch("tag_images_by_wd14_tagger", tmp_path, *words)
    assert done.returncode == 2
    for option in ("thresh", "tag_replacement", "undesired"):
        assert f"Error [{option}]" in done.stderr
    assert "did you mean --undesired_tags?" in done.stderr
    done = launch("make_captions", tmp_path, "--check_only")
    assert done.returncode == 2
    assert "Error [train_data_dir]: this has to be given" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_whole_job_is_printed_without_heavy_imports(tmp_path: Path) -> None:
    code = (
        "import sys; from sd_scripts.captioning.entry import run_captioning as run;"
        "code = run(['pics', '--print_config', '--beam_search']);"
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'numpy'} & set(sys.modules)));"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'train_data_dir = "pics"' in done.stdout
    assert "beam_search = true" in done.stdout
    assert "num_beams = 1" in done.stdout
    assert done.stdout.rstrip().endswith("[]")
