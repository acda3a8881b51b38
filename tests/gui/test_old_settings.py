"""Old settings are opened with the control that opens files: told of first, then in the form."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from kohya_gui.context import Context
from kohya_gui.forms.desk import Desk
from kohya_gui.forms.drafts import Draft
from kohya_gui.settings import Settings, save_settings
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from tests.importers.test_opening import header_text, write_lora

KOHYA = {
    "LoRA_type": "Standard",
    "network_dim": "24",
    "text_encoder_lr": 0,
    "unet_lr": 0.0002,
    "epoch": 8,
    "max_resolution": "768,768",
    "lowvram": True,
    "nonsense": 1,
    "sample_prompts": "a cat --d 1\na dog",
}
EMPTY = Draft("train_network")


@pytest.fixture
def desk(context: Context, tmp_path: Path) -> Desk:
    save_settings(context.workspace, Settings(roots=(str(tmp_path),)))
    return Desk(context, TrainNetworkJob)


def sent(settings: dict[str, object]) -> dict[str, object]:
    return {"text": json.dumps(settings), "source": "old.json"}


def test_what_becomes_of_them_is_told_before_the_form_is_filled(desk: Desk) -> None:
    told = desk.act("import", sent(KOHYA), EMPTY)
    assert (told["state"], told["source"], told["fits"]) == ("report", "old.json", True)
    lines = {section["fate"]: " ".join(section["lines"]) for section in told["sections"]}
    assert list(lines) == ["changed", "ignored", "unknown", "mapped"]
    assert "epoch" in lines["changed"]
    assert "lowvram" in lines["ignored"]
    assert "nonsense" in lines["unknown"]
    assert "network_dim" in lines["mapped"]
    assert any("pretrained_model_name_or_path" in words for words in told["refused"])


def test_the_form_is_filled_even_if_the_model_is_still_to_be_chosen(desk: Desk) -> None:
    draft, notice, problems = desk.alter("open_text", sent(KOHYA), EMPTY)
    assert draft.values == {
        "network_dim": "24",
        "network_train_unet_only": True,
        "unet_lr": "0.0002",
        "max_train_epochs": "8",
        "resolution": "768,768",
    }
    assert draft.prompts == "a cat --d 1\na dog"
    assert (notice, problems) == ("old.json was opened.", ())


def test_files_that_the_page_may_not_look_into_are_not_opened(desk: Desk) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as elsewhere:
        elsewhere.write("network_dim = 77\nsecret = 'canary'\n")
        elsewhere.flush()
        for ask in ({"file": elsewhere.name}, {"file": "a\x00b"}, {"file": "~nobody/x"}):
            told = desk.act("import", ask, EMPTY)
            assert "may look into" in told["problems"][0]["message"]
            with pytest.raises(UserError, match="may look into"):
                desk.alter("open_file", ask, EMPTY)
            assert "canary" not in repr(told)


def test_files_on_the_server_are_opened_likewise(desk: Desk, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(KOHYA), "utf-8-sig")
    assert desk.act("import", {"file": str(settings)}, EMPTY)["fits"]
    assert desk.alter("open_file", {"file": str(settings)}, EMPTY)[0].values["network_dim"] == "24"
    lora = write_lora(tmp_path / "mine.safetensors")
    assert desk.act("import", {"file": str(lora)}, EMPTY)["source"] == "mine.safetensors"
    opened, _, _ = desk.alter("open_file", {"file": str(lora)}, EMPTY)
    assert opened.values["network_dim"] == "8"
    job = tmp_path / "job.json"
    job.write_text("seed = 3\n")
    assert desk.act("import", {"file": str(job)}, EMPTY) == {"state": "no_report"}
    assert desk.alter("open_file", {"file": str(job)}, EMPTY)[0].values == {"seed": "3"}


def test_of_a_lora_the_browser_sends_its_header(desk: Desk) -> None:
    data = {"text": header_text(), "source": "mine.safetensors"}
    assert desk.act("import", data, EMPTY)["fits"]
    assert desk.alter("open_text", data, EMPTY)[0].values["network_dim"] == "8"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps({**KOHYA, "flux1_checkbox": True}), "FLUX.1"),
        ("{", "not valid JSON"),
        ('{"datasets": []}', "describes a dataset"),
    ],
)
def test_what_cannot_be_trained_leaves_the_form_as_it_is(desk: Desk, text: str, words: str) -> None:
    data = {"text": text, "source": "old.json"}
    told = desk.act("import", data, EMPTY)
    assert not told["fits"]
    assert words in told["refused"][0]
    with pytest.raises(UserError, match=words):
        desk.alter("open_text", data, EMPTY)


def test_settings_of_another_job_are_for_its_page(desk: Desk) -> None:
    data = sent({"token_string": "zxc", "num_vectors_per_token": 2})
    told = desk.act("import", data, EMPTY)
    assert not told["fits"]
    assert "Textual Inversion" in told["refused"][0]
    with pytest.raises(UserError, match="Textual Inversion"):
        desk.alter("open_text", data, EMPTY)
