"""What trainers tell, in other languages: the templates are theirs, and values stay as they are."""

from __future__ import annotations

import ast
import string
from functools import cache
from pathlib import Path

import pytest

import sd_scripts
from kohya_gui.locales import ENGLISH, available_languages, load_texts
from kohya_gui.locales.told import PREFIX, told_in
from sd_scripts.errors import Problem, UserError
from sd_scripts.families.detect import inspect_model
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.failure import explain

KEYS = [key for key in sorted(load_texts().keys()) if key.startswith(PREFIX)]
OTHERS = [code for code in available_languages() if code != ENGLISH]


@cache
def source_strings() -> str:
    """Return every piece of text that stands in the trainers, a line each."""
    package = Path(sd_scripts.__file__).parent
    trees = (ast.parse(path.read_text("utf-8")) for path in package.rglob("*.py"))
    return "\n".join(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.mark.parametrize("key", KEYS)
def test_a_template_says_what_a_trainer_says(key: str) -> None:
    for fixed, *_ in string.Formatter().parse(load_texts()(key)):
        assert fixed.strip() in source_strings(), f"no trainer says {fixed!r}"


@pytest.mark.parametrize("language", OTHERS)
def test_every_template_is_found_and_told(language: str) -> None:
    english, other = load_texts(), load_texts(language)
    for key in KEYS:
        fields = [name for _, name, *_ in string.Formatter().parse(english(key)) if name]
        values = {name: f"«/{name}.x»" for name in fields}
        text = told_in(language, english(key, **values))
        assert all(value in text for value in values.values()), key
        assert text != english(key, **values) or other(key) == english(key), key


def test_words_that_are_not_known_stay_english() -> None:
    assert told_in("de", "A thing nobody has put into words") == "A thing nobody has put into words"
    assert told_in("en", "The disk is full") == "The disk is full"
    assert told_in("de", "x" * 5000) == "x" * 5000


def test_a_template_for_one_word_takes_no_sentence() -> None:
    assert told_in("de", "empty network_dim") == "leere network_dim"
    longer = "empty network_dim and conv_dim, or switch dim_from_weights off"
    assert told_in("de", longer) == longer


def test_sentences_are_told_one_by_one() -> None:
    text = told_in("de", "The log holds the whole message. Resume from the state a.b-000010-state.")
    assert (
        text == "Das Protokoll enthält die ganze Meldung. Setze beim Stand a.b-000010-state fort."
    )
    mixed = told_in("fr", "The disk is full. Ask the one who runs this machine.")
    assert mixed == "Le disque est plein. Ask the one who runs this machine."


def test_a_name_that_is_missing_leaves_no_gap() -> None:
    assert told_in("de", "A picture could not be read.") == "Ein Bild ließ sich nicht lesen."
    assert told_in("de", "A picture could not be read. /a b/c.png").endswith(" /a b/c.png")


def what_a_beginner_meets(folder: Path) -> list[Problem]:
    """Return real problems, as the trainers make them."""
    found: list[Problem] = []
    for values in (
        {"pretrained_model_name_or_path": "m", "train_data_dir": "p", "max_train_stps": 5},
        {"pretrained_model_name_or_path": "m"},
        {
            "pretrained_model_name_or_path": "m",
            "train_data_dir": "p",
            "network_train_unet_only": True,
            "network_train_text_encoder_only": True,
            "full_bf16": True,
            "mixed_precision": "fp16",
        },
    ):
        with pytest.raises(UserError) as caught:
            job_from_values(TrainNetworkJob, values)
        found += caught.value.problems
    with pytest.raises(UserError) as caught:
        inspect_model(str(folder / "gone.safetensors"))
    found += caught.value.problems
    for log in (
        "torch.OutOfMemoryError: CUDA out of memory",
        "loss is nan",
        "No space left on device",
    ):
        why = explain(log)
        assert why is not None
        found.append(Problem(why.cause, None, why.hint))
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_what_a_beginner_meets_is_told_in_the_language(language: str, tmp_path: Path) -> None:
    problems = what_a_beginner_meets(tmp_path)
    assert len(problems) >= 8
    english = [one.message for one in problems if told_in(language, one.message) == one.message]
    assert english == []


@pytest.mark.parametrize(
    "english",
    ["LoRA to take the rank from: there is no", "there is no noise offset to adapt"],
)
def test_a_sentence_that_only_begins_like_a_template_stays_english(english: str) -> None:
    assert told_in("de", english) == english


def test_a_field_does_not_swallow_the_next_sentence() -> None:
    other = "Something else that nobody translated"
    assert told_in("de", f"there is no /pictures/a. {other}").endswith(other)
