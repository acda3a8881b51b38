"""Examining and preparing as jobs: run folders, new folders, originals that stay, and refusals."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sd_scripts import files
from sd_scripts.curating import preparing
from sd_scripts.curating.checking import run_check
from sd_scripts.curating.preparing import run_prepare
from sd_scripts.data.pixels import choose_crop, cut, load_mask, load_pixels
from sd_scripts.dataset.doctor.examine import CHECKS
from sd_scripts.dataset.doctor.findings import report_from_json
from sd_scripts.dataset.listing import Listing, list_folder
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.options.groups.picture_check import CHECK_NAMES
from sd_scripts.runs.events import EndEvent, read_events
from tests.data.helpers import picture
from tests.dataset.jobs import planned


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two concepts, one with masks and odd names, and a link that leads out."""
    root = tmp_path / "source"
    for name, number, size in (("10_ohwx cat", 4, (200, 130)), ("dogs", 2, (120, 180))):
        (root / name).mkdir(parents=True)
        (tmp_path / "masks" / name).mkdir(parents=True)
        for index in range(number):
            picture(*size, index + 10 * number).save(root / name / f"{index}.png")
            (root / name / f"{index}.txt").write_bytes(b"a caption\r\n")
            mask = picture(*size, index).convert("L")
            mask.save(tmp_path / "masks" / name / f"{index}.png")
    picture(100, 100, 7).save(root / "dogs" / "two\nlines.jpg", quality=95)
    (tmp_path / "elsewhere").mkdir()
    picture(64, 64, 9).save(tmp_path / "elsewhere" / "secret.png")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "dogs" / "broken.png").write_bytes(b"no picture")
    return root


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(tmp_path: Path, folder: Path, **options: object) -> tuple[int, EndEvent, Path]:
    run_dir = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
    words = [str(folder), "--run_dir", str(run_dir), "--recursive"]
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    code = run_prepare(words)
    end = read_events(run_dir / "events.jsonl")[0][-1]
    assert isinstance(end, EndEvent)
    return code, end, run_dir


def test_the_doctor_as_a_job(tmp_path: Path, folder: Path) -> None:
    before = everything(folder)
    copy = tmp_path / "workspace" / "doctor.json"
    code = run_check(
        [str(folder), "--run_dir", str(tmp_path / "run"), "--resolution", "64",
         "--caption_extension", ".txt", "--report_path", str(copy),
         "--cache_dir", str(tmp_path / "cache")]
    )  # fmt: skip
    assert code == 0
    report = report_from_json((tmp_path / "run" / "output" / "report.json").read_text())
    assert report.num_pictures == 4, "only the folder with repeats in its name is trained"
    assert report_from_json(copy.read_text()) == report
    assert report.verdict in (tmp_path / "run" / "train.log").read_text()
    assert everything(folder) == before
    assert run_check([str(tmp_path / "nowhere"), "--run_dir", str(tmp_path / "run2")]) == 2


def test_checks_and_their_names_are_the_same() -> None:
    assert tuple(CHECKS) == CHECK_NAMES


def test_a_whole_folder_is_prepared(tmp_path: Path, folder: Path) -> None:
    before = everything(tmp_path / "source")
    output = tmp_path / "new"
    options: dict[str, Any] = {
        "output_dir": output, "resolution": 128, "min_bucket_reso": 64, "max_bucket_reso": 256,
        "conditioning_data_dir": tmp_path / "masks", "concept_words": "shiba dog",
        "balance": True,
    }  # fmt: skip
    code, end, _ = run(tmp_path, folder, dry_run=True, **options)
    assert (code, end.status, output.exists()) == (0, "finished", False)
    code, end, run_dir = run(tmp_path, folder, **options)
    assert code == 0, end
    assert everything(tmp_path / "source") == before
    made = everything(output)
    assert sorted(made) == sorted(
        [f"pictures/10_ohwx cat/{n}.{e}" for n in range(4) for e in ("png", "txt")]
        + [f"pictures/13_shiba dog/{n}.{e}" for n in range(2) for e in ("png", "txt")]
        + ["pictures/13_shiba dog/two_lines.png"]
        + [f"masks/10_ohwx cat/{n}.png" for n in range(4)]
        + [f"masks/13_shiba dog/{n}.png" for n in range(2)]
    )
    assert made["pictures/10_ohwx cat/0.txt"] == b"a caption\r\n"
    plan = json.loads((run_dir / "output" / "prepared.json").read_text())
    assert len(plan["pictures"]) == 7
    log = (run_dir / "train.log").read_text()
    assert "broken.png" in log
    assert "leads out of the folder" in log
    trained = trained_as(tmp_path, output / "pictures", folder)
    assert trained


def trained_as(tmp_path: Path, new: Path, source: Path) -> bool:
    """Whether training sees in the new folder what it would have seen in the old one."""

    def plan(folder: Path, masks: Path) -> DatasetPlan:
        return planned(
            tmp_path / "cache", train_data_dir=folder, resolution=128, enable_bucket=True,
            min_bucket_reso=64, max_bucket_reso=256, caption_extension=".txt",
            masked_loss=True, conditioning_data_dir=masks,
        )  # fmt: skip

    old = plan(source, tmp_path / "masks").samples
    fresh = [
        one for one in plan(new, new.parent / "masks").samples if "ohwx" in str(one.path.parent)
    ]
    assert len(old) == len(fresh) == 4
    for before, after in zip(old, fresh, strict=True):
        assert after.image_size == after.bucket == before.bucket
        assert (after.caption, after.num_repeats) == (before.caption, before.num_repeats)
        crop = choose_crop(before, False)
        expected = cut(load_pixels(before), crop, before.bucket)
        assert np.array_equal(load_pixels(after), expected)
        assert before.mask
        assert after.mask
        mask = cut(load_mask(before.mask, before.resized, None, None), crop, before.bucket)
        assert np.array_equal(load_mask(after.mask, after.resized, None, None), mask)
    return True


def test_decisions_shapes_validation_and_a_dataset_file(tmp_path: Path, folder: Path) -> None:
    decisions = tmp_path / "decisions.json"
    pictures = {
        "dogs/0.png": {"exclude": True},
        "10_ohwx cat/0.png": {"crop": [10, 20, 110, 120]},
    }
    decisions.write_text(json.dumps({"version": 1, "folder": "source", "pictures": pictures}))
    output = tmp_path / "new"
    output.mkdir()
    code, end, _ = run(
        tmp_path, folder, output_dir=output, picture_decisions=decisions, group_shapes=True,
        repeats_in="dataset_file", validation_split=0.25, validation_seed=3,
    )  # fmt: skip
    assert code == 0, end
    made = everything(output)
    (square,) = [name for name in made if "square/ohwx cat" in name and name.endswith(".png")]
    cropped = Image.open(output / square)
    assert np.array_equal(
        np.asarray(cropped),
        np.asarray(Image.open(folder / "10_ohwx cat" / "0.png").crop((10, 20, 110, 120))),
    )
    names = [name for name in made if name.endswith((".png", ".jpg"))]
    assert len(names) == 6
    assert sum(name.startswith("validation/") for name in names) == 2
    untouched = next(name for name in names if "tall" in name)
    assert made[untouched] == (folder / "dogs" / Path(untouched).name).read_bytes()
    plan = planned(tmp_path / "cache", dataset_config=output / "dataset.toml",
                   caption_extension=".txt")  # fmt: skip
    assert not plan.errors
    assert {one.settings.num_repeats for one in plan.datasets[0].subsets} == {10, 1}


@pytest.mark.parametrize("kind", ["jpg", "webp"])
def test_other_formats(tmp_path: Path, folder: Path, kind: str) -> None:
    code, _, _ = run(tmp_path, folder, output_dir=tmp_path / "new", save_pictures_as=kind)
    assert code == 0
    found = [Image.open(path) for path in (tmp_path / "new").rglob(f"*.{kind}")]
    assert {one.format for one in found} == {"JPEG" if kind == "jpg" else "WEBP"}
    assert len(found) == 7


def test_places_that_are_refused(tmp_path: Path, folder: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("precious")
    (tmp_path / "link").symlink_to(folder)
    for place, words in (
        (full, "not empty"),
        (full / "mine.txt", "is a file"),
        (folder / "new", "inside the folder"),
        (tmp_path / "link" / "new", "inside the folder"),
        (tmp_path, "would be made anew"),
    ):
        code, end, _ = run(tmp_path, folder, output_dir=place)
        assert code == 2
        assert words in end.problems[0].message
    assert (full / "mine.txt").read_text() == "precious"
    assert not (folder / "new").exists()


def test_a_full_disk_and_a_stop_leave_nothing(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_free_bytes", lambda _: 10)
    code, end, _ = run(tmp_path, folder, output_dir=tmp_path / "new")
    assert (code, "MB are free" in end.reason) == (2, True)
    monkeypatch.setattr(preparing, "_free_bytes", lambda _: None)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "new")

    with monkeypatch.context() as broken:
        broken.setattr("sd_scripts.curating.making.shutil.copyfile", full)
        code, end, _ = run(tmp_path, folder, output_dir=tmp_path / "new")
    assert (code, "disk is full" in end.reason) == (2, True)
    run_dir = tmp_path / "run_stopped"
    (run_dir / "control").mkdir(parents=True)
    (run_dir / "control" / "stop").touch()
    words = [str(folder), "--run_dir", str(run_dir), "--output_dir", str(tmp_path / "new")]
    assert run_prepare([*words, "--recursive"]) == 0
    end_event = read_events(run_dir / "events.jsonl")[0][-1]
    assert isinstance(end_event, EndEvent)
    assert end_event.status == "stopped"
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


def test_what_is_put_into_the_empty_new_folder_meanwhile_is_not_deleted(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "new"
    output.mkdir()
    put: list[Path] = []
    swap = files._swap

    def put_and_swap(whole: Path, target: Path, old: Path) -> None:
        if output.is_dir() and target == output:
            put.append(output / "mine.txt")
            put[-1].write_text("mine")
        swap(whole, target, old)

    monkeypatch.setattr(files, "_swap", put_and_swap)
    assert run(tmp_path, folder, output_dir=output)[0] == 0
    assert all(file.read_text() == "mine" for file in put)


def test_each_folder_of_masks_is_listed_once(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []

    def counting(place: Path) -> Listing:
        listed.append(place)
        return list_folder(place)

    monkeypatch.setattr("sd_scripts.curating.gathering.list_folder", counting)
    masks = tmp_path / "masks"
    assert run(tmp_path, folder, output_dir=tmp_path / "new", conditioning_data_dir=masks)[0] == 0
    assert listed.count(masks / "10_ohwx cat") == 1
