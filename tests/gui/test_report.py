"""What a hint asks for becomes buttons: each way out with the values it puts into the form."""

from __future__ import annotations

import pytest

from kohya_gui.forms.report import problem_row
from sd_scripts.errors import Problem

RAW: dict[str, object] = {
    "lr_scheduler": "constant",
    "lr_scheduler_type": "StepLR",
    "lr_warmup_steps": "0.1",
    "caption_extension": ".caption",
    "shuffle_caption": True,
    "cache_text_encoder_outputs": True,
    "network_train_unet_only": False,
}


@pytest.mark.parametrize(
    ("option", "hint", "ways"),
    [
        ("caption_extension", "set it to .txt", [{"caption_extension": ".txt"}]),
        (
            "lr_scheduler, lr_warmup_steps",
            "set lr_scheduler to cosine, or lr_warmup_steps to 0",
            [{"lr_scheduler": "cosine"}, {"lr_warmup_steps": "0"}],
        ),
        (
            "lr_scheduler, lr_scheduler_type",
            "set lr_scheduler to linear and empty lr_scheduler_type",
            [{"lr_scheduler": "linear", "lr_scheduler_type": ""}],
        ),
        (
            "network_train_unet_only, cache_text_encoder_outputs",
            "switch network_train_unet_only on, or cache_text_encoder_outputs off",
            [{"network_train_unet_only": True}, {"cache_text_encoder_outputs": False}],
        ),
        ("shuffle_caption", "switch it off", [{"shuffle_caption": False}]),
        ("lr_scheduler, lr_warmup_steps", "keep one of the two", []),
        ("lr_scheduler", "set vae_of_nobody to 3", []),
        ("lr_scheduler", None, []),
    ],
)
def test_ways_out_are_read_from_the_hint(
    option: str, hint: str | None, ways: list[dict[str, object]]
) -> None:
    row = problem_row(Problem("these do not fit", option, hint), RAW)
    assert [fix["values"] for fix in row["fixes"]] == ways
