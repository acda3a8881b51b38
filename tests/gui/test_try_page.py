"""What the page that tries prompts asks: only files it may see, and wishes in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kohya_gui.context import Context, make_context
from kohya_gui.pages.try_it import TryPage
from kohya_gui.settings import Settings, save_settings
from kohya_gui.trying.sources import base_facts, common_tags, network_facts, saved_files
from kohya_gui.trying.wishes import Wish
from sd_scripts.errors import UserError
from sd_scripts.files import write_atomic
from sd_scripts.shipped import STARTER_MODEL
from tests.support.pages import make_run
from tests.support.painting import write_lora
from tests.support.tiny_models import make_tiny_checkpoint

Ask = Callable[..., dict[str, Any]]


def wish(**changes: Any) -> dict[str, Any]:
    """A filled-in page."""
    return {
        "base": {"path": "m"},
        "prompts": ["a cat", "a dog"],
        "width": 64,
        "height": 64,
        "steps": 2,
        "scale": 3,
        "sampler": "ddim",
        "seed": 5,
        **changes,
    }


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = make_context(tmp_path / "workspace", None)
    (tmp_path / "seen").mkdir()
    save_settings(made.workspace, Settings(roots=(str(tmp_path / "seen"),)))
    yield made
    made.close()


@pytest.fixture
def ask(context: Context) -> Ask:
    page = TryPage(context)

    def call(name: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(page, f"_try_{name}")(request)
        return answer

    return call


def test_prompts_times_seeds() -> None:
    made = Wish.model_validate(wish(pictures=2)).order().pictures
    assert [(one.prompt, one.seed) for one in made] == [
        ("a cat", 5),
        ("a cat", 6),
        ("a dog", 5),
        ("a dog", 6),
    ]
    assert {(one.row, one.column) for one in made} == {("", "")}


def test_a_table_has_files_as_rows_and_strengths_as_columns() -> None:
    given = wish(
        networks=[{"path": "fixed.safetensors", "strength": 0.3}],
        grid={"files": ["x/a.safetensors", "b.safetensors"], "strengths": [0, 0.5]},
    )
    asked = Wish.model_validate(given)
    made = asked.order().pictures
    assert len(made) == asked.num_pictures == 8
    assert list(dict.fromkeys((one.row, one.column) for one in made)) == [
        ("a", "0"),
        ("a", "0.5"),
        ("b", "0"),
        ("b", "0.5"),
    ]
    assert [(use.path, use.strength) for use in made[-1].networks] == [
        ("fixed.safetensors", 0.3),
        ("b.safetensors", 0.5),
    ]
    assert asked.files == ("fixed.safetensors", "x/a.safetensors", "b.safetensors")


def test_what_is_wrong_is_named_in_words_all_at_once(ask: Ask) -> None:
    (told,) = ask("start", wish=wish(steps=0, width=65, prompts=[]))["problems"]
    assert all(text in told for text in ("prompts", "steps (1 to 200)", "width (64 to 4096"))
    many = wish(prompts=["a"] * 100, pictures=64)
    assert "6400 pictures" in ask("start", wish=many)["problems"][0]
    assert "problems" in ask("start")
    assert "problems" in ask("start", wish="rm -rf")


def test_only_files_that_may_be_seen_are_looked_into(
    ask: Ask, context: Context, tmp_path: Path
) -> None:
    hidden = make_tiny_checkpoint("sd1", tmp_path / "hidden.safetensors")
    for answer in (
        ask("base", path=str(hidden)),
        ask("network", path=str(hidden)),
        ask("start", wish=wish(base={"path": str(hidden)})),
        ask("start", wish=wish(base={"path": str(STARTER_MODEL), "vae": str(hidden)})),
    ):
        assert "is outside the folders" in answer["problems"][0]
    link = tmp_path / "seen" / "link.safetensors"
    link.symlink_to(hidden)
    assert "is outside" in ask("base", path=str(link))["problems"][0]
    assert context.trying.history() == []
    shown = make_tiny_checkpoint("sd1", tmp_path / "seen" / "shown.safetensors")
    assert ask("base", path=str(shown))["family"] == "sd1"


def test_orders_of_nobody_are_gone(ask: Ask) -> None:
    for name in ("cancel", "rest"):
        assert "gone" in ask(name, run="../..", order="x")["problems"][0]
    assert ask("look", shown="many", base=3)["orders"] == []
    assert ask("unload") == {"asked": False}
    assert "nothing to try" in ask("run", run="none")["problems"][0]


def test_a_run_offers_its_base_files_and_prompts(
    ask: Ask, context: Context, tmp_path: Path
) -> None:
    run = make_run(context.workspace.path, "robot", alive=False)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a robot --n fog --s 9 --d 4\na cat\n", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere" / "base.safetensors"
    values = {"pretrained_model_name_or_path": str(elsewhere), "clip_skip": 2}
    values["sample_prompts"] = str(prompts)
    write_atomic(run.config, "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))
    lora = write_lora(run.output / "robot-step00000007.safetensors", STARTER_MODEL, "sd1")
    (run.output / "robotic.safetensors").write_bytes(b"of another run")
    offer = ask("run", run=run.id)
    assert offer["base"] == {"path": str(elsewhere), "clip_skip": 2}
    assert [one["path"] for one in offer["files"]] == [str(lora)]
    assert offer["prompts"] == ["a robot", "a cat"]
    assert (offer["negative"], offer["steps"], offer["seed"]) == ("fog", 9, 4)
    sources = ask("sources")
    assert [one["run"] for one in sources["runs"]] == [run.id]
    assert [one["path"] for one in sources["bases"]] == [str(elsewhere), str(STARTER_MODEL)]


def test_files_are_in_the_order_of_saving(tmp_path: Path) -> None:
    import os

    for number, name in enumerate(("a-000002", "a", "a-000001", "ab", "a-x")):
        file = tmp_path / f"{name}.safetensors"
        file.touch()
        os.utime(file, (number + 1, number + 1))
    names = [Path(path).stem for path in saved_files(tmp_path, "a")]
    assert names == ["a-000002", "a", "a-000001"]
    assert saved_files(tmp_path / "none", "a") == ()


def test_what_files_say_of_themselves(tmp_path: Path) -> None:
    lora = write_lora(
        tmp_path / "cat.safetensors",
        STARTER_MODEL,
        "sd1",
        metadata={
            "ss_tag_frequency": '{"5_a": {"zwx": 3, "cat": 1}, "2_b": {"cat": 4}}',
            "modelspec.trigger_phrase": "zwx",
        },
    )
    found = network_facts(str(lora))
    assert (found["kind"], found["trigger"], found["words"]) == (
        "network",
        "zwx",
        [["cat", 5], ["zwx", 3]],
    )
    word = tmp_path / "word.safetensors"
    save_file({"emb_params": torch.zeros(2, 768)}, word)
    assert (network_facts(str(word))["kind"], network_facts(str(word))["family"]) == ("word", "sd1")
    with pytest.raises(UserError, match="a checkpoint file"):
        network_facts(str(make_tiny_checkpoint("sd1", tmp_path / "m.safetensors")))
    with pytest.raises(UserError, match="is no base model"):
        base_facts(str(lora))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 3}', '{"a": {"b": "c"}}', "3"])
def test_broken_frequencies_are_passed_over(text: str) -> None:
    assert common_tags(text) == []
