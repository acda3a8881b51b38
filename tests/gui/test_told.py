"""What trainers tell, in other languages: the templates are theirs, and values stay as they are."""

from __future__ import annotations

import errno
import os
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from kohya_gui.locales import ENGLISH, available_languages, load_texts
from kohya_gui.locales.told import PREFIX, templates, told_in
from sd_scripts.errors import Problem, UserError
from sd_scripts.families.detect import inspect_model
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.failure import explain
from tests.support.pages import ROOT
from tests.support.said import said, written
from tests.support.source_texts import VALUE

KNOWN = "problem.value.needed"
"""The key of a text that stands for any that is known."""
KEYS = [key for key in sorted(load_texts().keys()) if key.startswith(PREFIX)]
OTHERS = [code for code in available_languages() if code != ENGLISH]


def said_by_the_system() -> set[str]:
    """Return what systems say of files, as Python puts it."""
    words = {os.strerror(number) for number in errno.errorcode}
    full = os.strerror(errno.ENOSPC)
    return words | {str(OSError(errno.ENOSPC, full)), str(OSError(errno.ENOSPC, full, "/w"))}


def holding(mark: str, texts: str) -> Iterator[str]:
    """Yield those of many texts, with NUL between them, that hold some words."""
    at = texts.find(mark)
    while at >= 0:
        end = texts.index("\0", at)
        yield texts[texts.rindex("\0", 0, at) + 1 : end]
        at = texts.find(mark, end)


def test_a_template_says_what_a_program_says() -> None:
    """Letter for letter: a text of the source, with a value for each field, fits the template."""
    texts = "\0".join(["", *written(), *said_by_the_system(), ""])
    unsaid = [
        one.key
        for one in templates()
        if not any(one.fits(text) is not None for text in holding(one.mark, texts))
    ]
    assert unsaid == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_template_is_found_and_told(language: str) -> None:
    english, other = load_texts(), load_texts(language)
    for key in KEYS:
        fields = [name for _, name, *_ in string.Formatter().parse(english(key)) if name]
        values = {name: f"«/{name}.x»" for name in fields if not name.startswith("said")}
        values |= {name: "17" for name in fields if name.startswith("digits")}
        said = {name: english(KNOWN) for name in fields if name not in values}
        text = told_in(language, english(key, **values, **said))
        assert all(value in text for value in values.values()), key
        assert not said or other(KNOWN) in text, key
        assert text != english(key, **values, **said) or other(key) == english(key), key


def test_a_name_that_begins_a_sentence_keeps_its_letters() -> None:
    english = "The disk of pictures/robot has 2 GB free; about 3 GB are needed"
    assert told_in("ja", f"{english}, and 1 GB should stay free").startswith("pictures/robot ")


def test_words_that_are_not_known_stay_english() -> None:
    assert told_in("de", "A thing nobody has put into words") == "A thing nobody has put into words"
    assert told_in("en", "The disk is full") == "The disk is full"
    for long in ("x" * 5000, "a: " * 300, "error. " * 250):
        assert told_in("de", long) == long
    assert told_in("de", "lr_scheduler to constant") == "lr_scheduler to constant"


def test_a_template_for_one_word_takes_no_sentence() -> None:
    assert told_in("de", "empty network_dim") == "leere network_dim"
    longer = "empty network_dim and hope, or think of something else"
    assert told_in("de", longer) == longer


def test_ways_out_are_told_one_by_one() -> None:
    told = told_in("de", "set save_every_n_steps, or empty save_last_n_steps")
    assert told == "setze save_every_n_steps, oder leere save_last_n_steps"
    assert told_in("de", "set seed, or ask somebody") == "set seed, or ask somebody"


def test_a_finding_of_the_doctor_is_told_sentence_by_sentence() -> None:
    twins = "2 pictures are the same file under several names, in 1 group."
    why = "What is there twice is learned twice as hard and makes the rest of the picture stick."
    told = told_in("de", f"{twins} {why}")
    assert told == f"{told_in('de', twins)} {told_in('de', why)}"
    assert told.startswith("Dieselbe Datei unter mehreren Namen: 2 Bilder, in 1 Gruppe. ")
    undone = told_in("de", f"Leave out: {twins} {why}")
    assert undone == f"Auslassen: {told}"
    bare = "7 pictures have no caption; they are learned with the folder's words “zwx robot”."
    assert told_in("de", bare).endswith("mit: die Wörter des Ordners „zwx robot“.")


def test_what_the_system_says_is_told_within_a_sentence() -> None:
    told = told_in("fr", "the folder /x can't be read (Permission denied)")
    assert told == "le dossier /x est illisible (Accès refusé)"
    told = told_in("de", "The job could not be started: [Errno 28] No space left on device: '/w'")
    assert told.endswith("Auf dem Datenträger ist kein Platz mehr: '/w' (Errno 28)")


def test_pictures_are_told_one_by_one() -> None:
    one = told_in("de", "3 pictures in /p left out: a.png is empty (0 bytes)")
    assert one == "in /p ausgelassen, 3 Bilder: a.png ist leer (0 Byte)"
    english = "3 pictures in /p left out: a.png is empty (0 bytes); b.png has no pixels and 1 more"
    assert told_in("de", english) == (
        "in /p ausgelassen, 3 Bilder: a.png ist leer (0 Byte); b.png hat keine Pixel und 1 weitere"
    )


def test_sentences_are_told_one_by_one() -> None:
    text = told_in("de", "The log holds the whole message. Resume from the state a.b-000010-state.")
    assert (
        text == "Das Protokoll enthält die ganze Meldung. Setze beim Stand a.b-000010-state fort."
    )
    assert "。 " not in told_in("ja", "It was stopped on request and saved. Start it again.")
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
    ["LoRA to take the rank from: there is no", "there is no better place"],
)
def test_a_sentence_that_only_begins_like_a_template_stays_english(english: str) -> None:
    assert told_in("de", english) == english


def test_a_field_does_not_swallow_the_next_sentence() -> None:
    other = "Something else that nobody translated"
    assert told_in("de", f"there is no /pictures/a. {other}").endswith(other)


TOLD_TO_PROGRAMS = {
    "kohya_gui/rest/": "REST answers programs; they speak English",
    "kohya_gui/jobs/submitting.py": "what REST and the command line refuse",
    "kohya_gui/jobs/launch.py": "the same: pages know which jobs there are",
    "kohya_gui/commands/": "the command line speaks English",
    "kohya_gui/arguments.py": "the same",
    "kohya_gui/importers/__main__.py": "the same",
    "kohya_gui/workspace.py": "told before there is a page",
    "kohya_gui/locales/__init__.py": "told of a language that there is not",
    "sd_scripts/options/command_line.py": "the command line speaks English",
}
"""Files that tell nothing on a page, and why."""
NEVER_SO = {
    " is neither a picture nor a caption.": "the file has a name, or is “This file”",
    " is larger than 256 MB.": "a file with a known ending has a name",
    " did not arrive whole.": "the same",
    f"{VALUE} Resume from the state {VALUE}.": "two sentences, told one by one",
    f"{VALUE} There is no saved state to resume from; files saved before are in the output"
    " folder.": "the same",
    f"{VALUE}{VALUE}, {VALUE} billion parameters; {VALUE}: {VALUE}": "told part by part: see below",
    f"{VALUE}{VALUE}, {VALUE} million parameters; {VALUE}: {VALUE}": "the same",
}
"""Texts that the source seems to say and no program does, and why."""
ENGLISH_WORDS = re.compile(r"\b[a-z]{2,}(?: [a-z]{2,}){2,}\b")
COMMANDS = ("git lfs pull", "pip install onnxruntime", "apt install")


def left_in_english(text: str) -> str:
    """Return what is still English of a text that is told in Japanese."""
    told = told_in("ja", text)
    if told == text:
        return text
    for command in COMMANDS:
        told = told.replace(command, "")
    return "".join(ENGLISH_WORDS.findall(told))


def test_whatever_a_page_can_be_told_is_told_in_its_language() -> None:
    found = [
        f"{one.place}: {one.text}"
        for one in said()
        if re.search("[a-z]{2} [a-z]", one.text.replace(VALUE, ""))
        and one.text not in NEVER_SO
        and not one.place.startswith(tuple(TOLD_TO_PROGRAMS))
        and left_in_english(one.text)
    ]
    assert found == [], "templates for these are missing in locales/problems/en.toml"


def test_what_can_be_said_is_read_from_the_source() -> None:
    texts = {one.text for one in said()}
    assert len(texts) > 1500
    assert "The LoRA file is no DoRA" in texts  # a choice within a text
    assert "Compiling needs a C++ compiler, which is not there" in texts  # a function's answer
    assert "cached pictures cannot be given other colours each time" in texts  # a table
    assert f"{VALUE} is cut off (its end is missing)" in texts  # told behind a file's name
    assert f"Finished: {VALUE} pictures in {VALUE}" in texts  # the end of a job
    assert f"{VALUE} pictures is sharp nowhere. What is learned" not in texts
    assert {name for name in TOLD_TO_PROGRAMS if not (ROOT / name).exists()} == set()
    assert NEVER_SO.keys() <= texts


def test_a_model_and_the_length_of_a_training_are_told() -> None:
    model = (
        "Stable Diffusion 1.x, a checkpoint file, 0.86 billion parameters in F16;"
        " taken for noise prediction: a guess, as the folder has no scheduler configuration"
    )
    steps = (
        "24 pictures × 10 repeats + 1 picture × 2 repeats = 242 a pass"
        " → 60 batches of up to 4 ÷ 2 processes → 30 steps an epoch × 10 epochs = 300 steps"
    )
    for english in (model, steps):
        assert left_in_english(english) == ""
    assert told_in("de", steps) == (
        "24 Bilder × 10 Wiederholungen + 1 Bild × 2 Wiederholungen = 242 je Durchgang"
        " → 60 Batches zu höchstens 4 ÷ 2 Prozesse"
        " → 30 Schritte je Epoche × 10 Epochen = 300 Schritte"
    )
