"""The live report: model, pictures, steps, problems at their options, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kohya_gui.context import Context
from kohya_gui.forms.course import MAX_POINTS
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.live import Live
from tests.support.patience import last_answer
from tests.support.tiny_models import make_tiny_checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint("sd1", tmp_path_factory.mktemp("models") / "tiny.safetensors")


@pytest.fixture
def live(context: Context) -> Live:
    return Live(context.scans, context.workspace, context.text)


def settled(live: Live, values: dict[str, object], prompts: str = "") -> dict[str, Any]:
    """Report until no look at files is going on."""
    draft = Draft("train_network", values, prompts)
    return last_answer(lambda: live.report(draft), lambda found: not found["working"])


def named(report: dict[str, Any], option: str) -> list[dict[str, Any]]:
    return [problem for problem in report["problems"] if option in problem["options"]]


def test_an_empty_form_is_not_held_against_a_beginner(live: Live) -> None:
    report = settled(live, {})
    assert {problem["severity"] for problem in report["problems"]} == {"error", "warning"}
    assert all(problem["missing"] for problem in report["problems"])
    assert report["next"]["option"] == "pretrained_model_name_or_path"
    assert report["changed"] == []
    report = settled(live, {"output_name": "robot"})
    (rate,) = named(report, "learning_rate")
    assert not rate["missing"]


def test_the_family_is_told_as_soon_as_a_model_is_chosen(live: Live, tiny: Path) -> None:
    report = settled(live, {"pretrained_model_name_or_path": str(tiny)})
    assert report["family"]["family"] == "sd1"
    assert "Stable Diffusion 1" in report["family"]["text"]
    assert report["next"]["option"] == "train_data_dir"


def test_the_course_of_the_learning_rate_is_drawn_from_the_steps(
    live: Live, tiny: Path, pictures: Path
) -> None:
    assert settled(live, {})["course"] == {"state": "none"}
    values: dict[str, object] = {
        "pretrained_model_name_or_path": str(tiny),
        "train_data_dir": str(pictures),
        "max_train_steps": "2000",
        "learning_rate": "1e-4",
        "unet_lr": "2e-4",
        "lr_scheduler": "cosine",
        "lr_warmup_steps": "101",
    }
    course = settled(live, values)["course"]
    assert (course["state"], course["total"], course["even"]) == ("done", 2000, False)
    assert (course["first"], course["highest"], course["highest_step"]) == (0.0, 2e-4, 102)
    assert 0 < course["last"] < 1e-8
    assert len(course["points"]) <= MAX_POINTS + 2
    even = settled(live, {**values, "lr_scheduler": "constant", "lr_warmup_steps": ""})["course"]
    assert (even["even"], even["last"]) == (True, 2e-4)
    wrong = settled(live, {**values, "lr_scheduler": "piecewise_constant"})["course"]
    assert wrong == {"state": "unknown"}


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_a_model_that_is_none_is_told_at_its_option(
    live: Live, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    report = settled(live, {"pretrained_model_name_or_path": str(path)})
    assert report["family"]["state"] == "failed"
    assert named(report, "pretrained_model_name_or_path")
    assert report["next"]["key"] == "mend_model"


def test_pictures_are_counted_by_the_trainers_own_plan(live: Live, pictures: Path) -> None:
    report = settled(live, {"train_data_dir": str(pictures), "caption_extension": ".txt"})
    data = report["data"]
    assert data["num_images"] == 2
    (folder,) = data["folders"]
    assert (folder["images"], folder["repeats"], folder["captions"]) == (2, 3, 1)
    assert folder["words"] == "mycat cat"
    assert sum(bucket["count"] for bucket in data["buckets"]) == 6
    assert report["steps"]["total"] == 1600


def test_steps_follow_the_numbers_as_they_change(live: Live, pictures: Path) -> None:
    values = {"train_data_dir": str(pictures), "caption_extension": ".txt"}
    report = settled(live, {**values, "max_train_epochs": "4", "train_batch_size": "2"})
    assert report["steps"]["total"] == 12
    assert report["steps"]["views"] == 12
    assert report["steps"]["wanted_epochs"] == 33
    assert "3 steps an epoch" in report["steps"]["text"]


def test_captions_with_another_ending_are_told_with_the_remedy_at_hand(
    live: Live, pictures: Path
) -> None:
    (pictures / "3_mycat cat" / "1.txt").write_text("mycat")
    report = settled(live, {"train_data_dir": str(pictures)})
    (problem,) = named(report, "caption_extension")
    assert problem["fixes"] == [{"values": {"caption_extension": ".txt"}}]


def test_a_folder_that_is_not_there_is_told(live: Live, tmp_path: Path) -> None:
    report = settled(live, {"train_data_dir": str(tmp_path / "none")})
    assert named(report, "train_data_dir")


def test_new_pictures_are_seen_after_looking_again(live: Live, pictures: Path) -> None:
    values: dict[str, object] = {"train_data_dir": str(pictures), "caption_extension": ".txt"}
    assert settled(live, values)["data"]["num_images"] == 2
    (pictures / "3_mycat cat" / "1.png").unlink()
    live.look_again(Draft("train_network", values))
    assert settled(live, values)["data"]["num_images"] == 1


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({"learning_rate": "fast"}, ["learning_rate"]),
        ({"network_dim": "0"}, ["network_dim"]),
        ({"max_train_epochs": "0"}, ["max_train_epochs"]),
        ({"resolution": "wide"}, ["resolution"]),
        ({"optimizer_type": "AdamX"}, ["optimizer_type"]),
        ({"vae": "/no/vae.pt"}, ["vae"]),
        ({"sample_prompts": "/no/prompts.txt"}, ["sample_prompts"]),
        ({"random_crop": True, "cache_latents": True}, ["random_crop", "cache_latents"]),
    ],
)
def test_what_is_wrong_is_told_at_every_option_concerned(
    live: Live, values: dict[str, object], options: list[str]
) -> None:
    report = settled(live, values)
    for option in options:
        errors = [p for p in named(report, option) if p["severity"] == "error"]
        assert errors, f"{option}: {report['problems']}"
        assert errors[0]["hint"]
        assert not errors[0]["missing"]


def test_prompts_that_are_broken_are_told(live: Live) -> None:
    assert named(settled(live, {}, "a cat --w wide"), "sample_prompts")


def test_options_without_effect_are_told_with_the_reason(live: Live, tiny: Path) -> None:
    inert = settled(live, {"pretrained_model_name_or_path": str(tiny)})["inert"]
    assert "enable_bucket" in inert["min_bucket_reso"]
    assert "clip_skip" not in inert
    on = settled(live, {"enable_bucket": True})["inert"]
    assert "min_bucket_reso" not in on


def test_an_option_of_another_family_is_told(live: Live, tmp_path: Path) -> None:
    model = make_tiny_checkpoint("sdxl", tmp_path / "xl.safetensors")
    inert = settled(live, {"pretrained_model_name_or_path": str(model)})["inert"]
    assert "SD 1.x" in inert["clip_skip"]


def test_the_way_to_the_start_is_one_step_after_the_other(
    live: Live, tiny: Path, pictures: Path
) -> None:
    values: dict[str, object] = {"pretrained_model_name_or_path": str(tiny)}
    values |= {"train_data_dir": str(pictures), "caption_extension": ".txt"}
    assert settled(live, values)["next"]["key"] == "name"
    values["output_name"] = "mycat"
    assert settled(live, values)["next"]["key"] == "rate"
    values["learning_rate"] = "1e-4"
    assert settled(live, values)["next"]["key"] == "start"
    values["network_dim"] = "-1"
    assert settled(live, values)["next"] == {
        "key": "mend",
        "text": settled(live, values)["next"]["text"],
        "option": "network_dim",
    }
