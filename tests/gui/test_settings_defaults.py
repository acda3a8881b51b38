"""Values that new forms begin with: listed in words, removed a kind at a time, not by mistake."""

from __future__ import annotations

import pytest

from kohya_gui.context import Context
from kohya_gui.pages.settings_defaults import KeptDefaults
from kohya_gui.settings import Settings, save_settings


@pytest.fixture
def kept(context: Context) -> KeptDefaults:
    own = {"train_network": {"network_dim": "16", "cache_latents": True}, "train_db": {"seed": "3"}}
    save_settings(context.workspace, Settings(page_defaults={**own, "fine_tune": {}}))
    return KeptDefaults(context)


def test_each_kind_of_form_is_listed_with_its_values(kept: KeptDefaults) -> None:
    lora, dreambooth = kept.kept_defaults()
    assert (lora["job"], lora["name"], lora["page"]) == ("train_network", "LoRA", "lora")
    assert [(one["option"], one["value"]) for one in lora["values"]] == [
        ("network_dim", "16"),
        ("cache_latents", "on"),
    ]
    assert lora["values"][0]["label"] != "network_dim"
    assert dreambooth["name"] == "Dreambooth"


def test_removing_leaves_the_others(kept: KeptDefaults, context: Context) -> None:
    row = kept.kept_defaults()[0]
    assert "LoRA" in kept.forget({"job": "train_network", "values": row["values"]})["text"]
    assert [row["job"] for row in kept.kept_defaults()] == ["train_db"]
    assert context.settings().page_defaults["train_db"] == {"seed": "3"}


def test_what_changed_meanwhile_is_not_removed(kept: KeptDefaults, context: Context) -> None:
    seen = kept.kept_defaults()[0]["values"]
    newer = {"page_defaults": {"train_network": {"network_dim": "64"}}}
    save_settings(context.workspace, context.settings().model_copy(update=newer))
    assert "problems" in kept.forget({"job": "train_network", "values": seen})
    assert context.settings().page_defaults["train_network"] == {"network_dim": "64"}
