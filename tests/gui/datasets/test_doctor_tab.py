"""The doctor's tab: remedies are for the report that was shown, not for a later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_gui.context import Context
from kohya_gui.datasets.places import DatasetPlace, place_of
from kohya_gui.pages.dataset_desk import DatasetDesk, usual_ending
from kohya_gui.pages.dataset_doctor import DatasetDoctor
from kohya_gui.quick_gradio import gr
from kohya_gui.settings import Settings, save_settings
from sd_scripts.dataset.decision_files import read_decisions
from sd_scripts.dataset.doctor.findings import Finding, Remedy, Report

OLD = "made anew"


@pytest.fixture
def folder(tmp_path: Path, context: Context) -> Path:
    folder = tmp_path / "files" / "set"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(folder / name)
    save_settings(context.workspace, Settings(roots=(str(folder.parent),)))
    return folder


@pytest.fixture
def place(context: Context, folder: Path) -> DatasetPlace:
    place = place_of(context.workspace, folder)
    place.path.mkdir(parents=True)
    return place


@pytest.fixture
def doctor(context: Context) -> DatasetDoctor:
    return DatasetDoctor(DatasetDesk(context, gr.Textbox(visible=False)))


def write(place: DatasetPlace, folder: Path, *paths: Path) -> None:
    names = tuple(map(str, paths))
    remedies = (Remedy("exclude", "Leave out", names), Remedy("caption", "Edit", names, prefix="x"))
    finding = Finding("blurred", "doubtful", "Blurred.", names, remedies=remedies)
    place.doctor.write_text(Report(str(folder), 2, "x", (finding,)).to_json())


def test_a_remedy_is_for_the_report_that_was_shown(
    doctor: DatasetDoctor, folder: Path, place: DatasetPlace
) -> None:
    write(place, folder, folder / "a.png")
    shown = doctor.doctor_report({"folder": str(folder)})
    assert shown["findings"][0]["remedies"][1]["prefix"] == "x"
    request = {"folder": str(folder), "mark": shown["mark"], "finding": 0, "remedy": 0}
    write(place, folder, folder / "b.png")
    assert OLD in doctor.doctor_remedy(request)["problems"][0]["message"]
    assert not place.decisions.exists()
    request["mark"] = doctor.doctor_report({"folder": str(folder)})["mark"]
    assert doctor.doctor_remedy(request) == {}
    assert list(read_decisions(place.decisions).pictures) == ["b.png"]


@pytest.mark.parametrize(
    "wrong",
    [{"picture": 1}, {"picture": -1}, {"picture": "0"}, {"remedy": 2}, {"finding": None}],
    ids=str,
)
def test_numbers_that_mean_nothing_are_told(
    doctor: DatasetDoctor, folder: Path, place: DatasetPlace, wrong: dict[str, Any]
) -> None:
    write(place, folder, folder / "a.png")
    mark = doctor.doctor_report({"folder": str(folder)})["mark"]
    request = {"folder": str(folder), "mark": mark, "finding": 0, "remedy": 0, **wrong}
    assert OLD in doctor.doctor_remedy(request)["problems"][0]["message"]
    assert not place.decisions.exists()


def test_a_picture_outside_of_the_roots_leaves_the_others_their_small_copies(
    doctor: DatasetDoctor, folder: Path, place: DatasetPlace, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    write(place, folder, folder / "link.png", folder / "a.png")
    mark = doctor.doctor_report({"folder": str(folder)})["mark"]
    request = {"folder": str(folder), "mark": mark, "finding": 0, "pictures": [0, 1]}
    assert list(doctor.doctor_small(request)["files"]) == ["1"]


def test_fields_begin_with_the_ending_that_most_captions_have(folder: Path) -> None:
    assert usual_ending(folder) == ".txt"
    (folder / "inner").mkdir()
    for name in ("a.caption", "inner/b.caption", "b.txt"):
        (folder / name).write_text("words")
    assert usual_ending(folder) == ".caption"
    assert usual_ending(folder / "gone") == ".txt"
