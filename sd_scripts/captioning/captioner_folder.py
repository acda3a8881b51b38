"""Which folder a job's captioner is in, and whether it is one. Nothing heavy is imported here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import Problem
from sd_scripts.options.groups.captioning import CaptionerOptions
from sd_scripts.shipped import STARTER_CAPTIONER


@dataclass(frozen=True)
class CaptionerKind:
    """What is known of a kind of captioner before it is loaded.

    `prompt` is what it is asked when the job says nothing: None for kinds that need no words. With
    `takes_prompt` false, words of the job cannot be used.
    """

    title: str
    prompt: str | None = None
    takes_prompt: bool = True


KINDS: Final[dict[str, CaptionerKind]] = {
    "blip": CaptionerKind("BLIP"),
    "blip-2": CaptionerKind("BLIP-2"),
    "git": CaptionerKind("GIT", takes_prompt=False),
    "florence2": CaptionerKind("Florence-2", "<CAPTION>"),
    "qwen2_vl": CaptionerKind("Qwen2-VL", "Describe this image in one sentence."),
    "qwen2_5_vl": CaptionerKind("Qwen2.5-VL", "Describe this image in one sentence."),
    "qwen3_vl": CaptionerKind("Qwen3-VL", "Describe this image in one sentence."),
}
"""The captioners that can be used, by `model_type` in their config.json."""

_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
_PROCESSOR: Final = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER: Final = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")
_OPTION: Final = "caption_weights"


def captioner_folder(options: CaptionerOptions) -> Path:
    """Return the folder that a job means; its captioner may be missing."""
    if options.caption_weights:
        return Path(options.caption_weights).expanduser()
    return STARTER_CAPTIONER


def model_type(folder: Path) -> str:
    """Return the `model_type` of a folder that has no problems."""
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])


def captioner_problems(options: CaptionerOptions) -> list[Problem]:
    """Tell everything that is wrong with the folder, as far as its small files show it."""
    folder = captioner_folder(options)
    starter = STARTER_CAPTIONER
    if not folder.is_dir():
        return [_not_a_folder(folder, options)]
    other = f"Or leave caption_weights empty for the small BLIP in {shown(starter)}."
    problems = [
        Problem(f"{shown(folder)} is no captioner: {what}", _OPTION, f"Copy it again. {other}")
        for what in _missing(folder)
    ]
    if problems:
        return problems
    try:
        kind = model_type(folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{shown(folder / 'config.json')} cannot be understood: {error!r}"
        return [Problem(message, _OPTION, f"Copy it again. {other}")]
    if kind not in KINDS:
        known = ", ".join(found.title for found in KINDS.values())
        return [
            Problem(
                f"{shown(folder)} is a model of kind {kind}, which writes no captions here",
                _OPTION,
                f"Choose one of these: {known}. {other}",
            )
        ]
    return list(_prompt_problems(options, KINDS[kind]))


def _not_a_folder(folder: Path, options: CaptionerOptions) -> Problem:
    needed = "a folder in transformers' layout (config.json, model.safetensors and so on)"
    if options.caption_weights is None:
        return Problem(
            f"The captioner that comes with this program is not in {shown(folder)}",
            _OPTION,
            f"Name the folder of another one: {needed}.",
        )
    what = "is a file" if folder.exists() else "is not there"
    return Problem(
        f"{shown(folder)} {what}; a captioner is {needed}",
        _OPTION,
        "BLIP is there in this layout as Salesforce/blip-image-captioning-large. Or leave "
        f"caption_weights empty for the small BLIP in {shown(STARTER_CAPTIONER)}.",
    )


def _missing(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield "config.json is missing"
    for what, names in (
        ("the weights are", _WEIGHTS),
        ("the configuration of its processor is", _PROCESSOR),
        ("the tokenizer is", _TOKENIZER),
    ):
        if not any(next(folder.glob(name), None) for name in names):
            yield f"{what} missing ({' or '.join(names[:2])})"


def _prompt_problems(options: CaptionerOptions, kind: CaptionerKind) -> Iterator[Problem]:
    if options.caption_prompt is not None and not kind.takes_prompt:
        yield Problem(
            f"{kind.title} cannot be asked anything",
            "caption_prompt",
            "Leave caption_prompt empty.",
        )
    florence = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
    if kind.title == "Florence-2" and options.caption_prompt not in (None, *florence):
        yield Problem(
            f"{options.caption_prompt!r} is no task of Florence-2 that gives a caption",
            "caption_prompt",
            f"Choose {', '.join(florence)}, or leave it empty.",
        )
