"""Presets of the user's own: kept, applied, renamed, given away, brought in, deleted."""

from __future__ import annotations

import contextlib
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kohya_gui.context import Context
from kohya_gui.forms import own_presets
from kohya_gui.forms.desk import Desk
from kohya_gui.forms.drafts import Draft
from sd_scripts.options.jobs import TrainDbJob, TrainNetworkJob

MINE: dict[str, object] = {
    "pretrained_model_name_or_path": "/m.safetensors",
    "train_data_dir": "/cats",
    "output_name": "mycat",
    "metadata_title": "My cat",
    "network_dim": "64",
    "conv_dim": "8",
    "unet_lr": "0",
    "optimizer_args": "weight_decay=0.1",
    "flip_aug": True,
}
FILE = "# title: Soft\n# note: for fur\nnetwork_dim = 12\noutput_name = 'theirs'\n"


@pytest.fixture
def desk(context: Context) -> Desk:
    return Desk(context, TrainNetworkJob)


def acted(desk: Desk, what: str, draft: Draft | None = None, **data: object) -> Any:
    return desk.act(what, data, draft or Draft("train_network", MINE))


def test_a_preset_holds_what_differs_but_nothing_of_the_users_own(desk: Desk) -> None:
    result = acted(desk, "preset_save", title="Fur", note="for cats")
    assert (result["state"], [row["id"] for row in result["own"]]) == ("presets", ["own:Fur"])
    preset = desk.own_presets.own.find("own:Fur")
    assert preset is not None
    assert {k for k, v in preset.values.items() if v not in ([], ())} == {
        "network_dim",
        "conv_dim",
        "unet_lr",
        "optimizer_args",
        "flip_aug",
    }
    own = Draft("train_network", {"output_name": "other", "seed": "3"})
    applied, notice, _ = desk.alter("preset", {"preset": "own:Fur"}, own)
    assert "Fur" in notice
    wanted = {name: MINE[name] for name in preset.values if name in MINE}
    assert applied.values == {"output_name": "other", **wanted}
    assert applied.about == {"preset": "own:Fur"}


def test_another_of_that_name_is_replaced_only_when_told(desk: Desk) -> None:
    acted(desk, "preset_save", title="Fur", note="")
    other = Draft("train_network", {"network_dim": "4"})
    asked = acted(desk, "preset_save", other, title="Fur", note="")
    assert asked["state"] == "preset_exists"
    kept = desk.own_presets.own.find("own:Fur")
    assert kept is not None
    assert kept.values["network_dim"] == 64
    acted(desk, "preset_save", other, **asked["sent"], replace=True)
    kept = desk.own_presets.own.find("own:Fur")
    assert kept is not None
    assert kept.values == {"network_dim": 4}


def test_of_two_who_save_under_one_name_at_once_one_is_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    written = own_presets.write_atomic

    def write_late(path: Path, text: str) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # whoever looked before anything is written gets here
        written(path, text)

    monkeypatch.setattr(own_presets, "write_atomic", write_late)
    drafts = [Draft("train_network", {"network_dim": rank}) for rank in ("4", "8")]
    with ThreadPoolExecutor(2) as two:
        save = functools.partial(acted, desk, "preset_save", title="Fur", note="")
        states = list(two.map(lambda draft: save(draft)["state"], drafts))
    assert states.count("preset_exists") == 1


def test_renaming_takes_no_others_place(desk: Desk) -> None:
    acted(desk, "preset_save", title="Fur", note="n")
    acted(desk, "preset_save", title="Skin", note="")
    refused = acted(desk, "preset_rename", preset="own:Fur", title="Skin")
    assert "Skin" in refused["problems"][0]["message"]
    result = acted(desk, "preset_rename", preset="own:Fur", title="Hair")
    assert [(row["id"], row["note"]) for row in result["own"]] == [
        ("own:Hair", "n"),
        ("own:Skin", ""),
    ]


def test_a_preset_goes_out_and_comes_in_as_a_file(desk: Desk) -> None:
    acted(desk, "preset_import", text=FILE, source="a.toml")
    given = acted(desk, "preset_export", preset="own:Soft")
    assert given["file"] == "Soft.toml"
    assert "network_dim = 12" in given["text"]
    assert "theirs" not in given["text"]
    acted(desk, "preset_delete", preset="own:Soft")
    assert desk.own_presets.rows() == []
    (row,) = acted(desk, "preset_import", text=given["text"], source="b.toml")["own"]
    assert (row["title"], row["note"]) == ("Soft", "for fur")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("network_di = 4\n", "network_dim"),
        ("network_dim = 0\n", "network_dim"),
        ("network_dim = = 4\n", "TOML"),
    ],
)
def test_a_file_that_is_wrong_is_told_and_not_kept(desk: Desk, text: str, told: str) -> None:
    result = acted(desk, "preset_import", text=text, source="a.toml")
    assert result["state"] == "problems"
    assert told in str(result["problems"])
    assert desk.own_presets.rows() == []


@pytest.mark.parametrize("wanted", ["own:../settings", "own:", "../settings", "own:a/b"])
def test_an_id_is_no_way_out_of_the_folder(desk: Desk, context: Context, wanted: str) -> None:
    (context.workspace.path / "presets" / "lora").mkdir(parents=True)
    outside = context.workspace.path / "presets" / "settings.toml"
    outside.write_text("network_dim = 4\n")
    assert acted(desk, "preset_export", preset=wanted)["state"] == "problems"
    acted(desk, "preset_delete", preset=wanted)
    assert outside.exists()


def test_what_new_forms_begin_with_can_be_kept_and_taken_back(desk: Desk, context: Context) -> None:
    assert acted(desk, "begin_with")["state"] == "said"
    begun = desk.begin({}).draft
    kept = {k: v for k, v in MINE.items() if k not in ("train_data_dir", "output_name")}
    assert begun.values == kept
    assert desk.begins_own
    assert desk.alter("clear", {}, begun)[0].values == kept
    assert Desk(context, TrainDbJob).begin({}).draft.values == {}
    acted(desk, "begin_plain")
    assert desk.begin({}).draft.values == {}
    assert not desk.begins_own


def test_arguments_of_lists_survive_every_way(desk: Desk) -> None:
    text = "network_args = ['conv_dim=4', 'loraplus_lr_ratio=4']\n"
    text += "optimizer_args = ['weight_decay=0.1']\n"
    brought = acted(desk, "preset_import", text=text, source="lists.toml")
    assert brought["state"] == "presets", brought
    acted(desk, "preset_rename", preset="own:lists", title="Lists")
    applied, _, _ = desk.alter("preset", {"preset": "own:Lists"}, Draft("train_network"))
    assert applied.values == {
        "conv_dim": "4",
        "network_args": "loraplus_lr_ratio=4",
        "optimizer_args": "weight_decay=0.1",
    }
    acted(desk, "preset_save", applied, title="Again", note="")
    again, _, _ = desk.alter("preset", {"preset": "own:Again"}, Draft("train_network"))
    assert again.values == applied.values
