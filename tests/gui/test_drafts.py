"""Drafts: kept per tab, by ids that are no paths, and forgotten when they are old."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_gui.forms import drafts as module
from kohya_gui.forms.drafts import Draft, Drafts

DRAFT = Draft("train_network", {"learning_rate": "1e-4", "flip_aug": True}, "ein Hündchen 犬")


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    return Drafts(tmp_path)


def test_a_draft_comes_back(drafts: Drafts) -> None:
    name = drafts.new_id()
    assert drafts.save(name, DRAFT)
    assert drafts.load(name, "train_network") == DRAFT


def test_what_a_form_is_about_stays_until_it_is_taken_back(drafts: Drafts) -> None:
    name = drafts.new_id()
    drafts.save(name, replace(DRAFT, about={"queued": "1", "parent": "a"}))
    drafts.save(name, Draft("train_network", {"seed": "1"}))
    drafts.save(name, Draft("train_network", {"seed": "2"}, about={"queued": ""}))
    assert drafts.load(name, "train_network") == Draft(
        "train_network", {"seed": "2"}, about={"parent": "a"}
    )


def test_two_drafts_do_not_meet(drafts: Drafts) -> None:
    one, other = drafts.new_id(), drafts.new_id()
    drafts.save(one, DRAFT)
    drafts.save(other, Draft("train_network", {"seed": "1"}))
    assert drafts.load(one, "train_network") == DRAFT


@pytest.mark.parametrize("name", ["", "..", "../settings", "a/b", "0123456789abcdeg", "x" * 16])
def test_an_id_that_is_none_touches_no_file(drafts: Drafts, tmp_path: Path, name: str) -> None:
    assert not drafts.save(name, DRAFT)
    assert drafts.load(name, "train_network") is None
    assert list(tmp_path.iterdir()) == []


def test_a_draft_of_another_job_is_none(drafts: Drafts) -> None:
    name = drafts.new_id()
    drafts.save(name, DRAFT)
    assert drafts.load(name, "train_db") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": "train_network"}', "\x00"])
def test_a_damaged_draft_is_none(drafts: Drafts, tmp_path: Path, text: str) -> None:
    name = drafts.new_id()
    (tmp_path / f"{name}.json").write_text(text)
    assert drafts.load(name, "train_network") is None


def test_old_and_surplus_drafts_go_and_other_files_stay(
    drafts: Drafts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_NUMBER", 2)
    ids = [drafts.new_id() for _ in range(4)]
    now = time.time()
    for age, name in enumerate(ids):
        drafts.save(name, DRAFT)
        days = module.KEPT_DAYS + 1 if age == 1 else 0
        moment = now - age * 60 - days * 86400
        os.utime(tmp_path / f"{name}.json", (moment, moment))
    (tmp_path / "notes.json").write_text(json.dumps({}))
    assert drafts.forget_old() == 2
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {ids[0], ids[2], "notes"}
