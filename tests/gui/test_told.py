"""What trainers tell, in other languages: the templates are theirs, and values stay as they are."""

from __future__ import annotations

import ast
import re
import string
from functools import cache
from pathlib import Path

import pytest

import kohya_gui
import sd_scripts
from kohya_gui.locales import ENGLISH, available_languages, load_texts
from kohya_gui.locales.told import PREFIX, told_in
from sd_scripts.errors import Problem, UserError
from sd_scripts.families.detect import inspect_model
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.failure import explain

KNOWN = "problem.value.needed"
"""The key of a text that stands for any that is known."""
KEYS = [key for key in sorted(load_texts().keys()) if key.startswith(PREFIX)]
OTHERS = [code for code in available_languages() if code != ENGLISH]


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", text.lower()))


@cache
def said_somewhere() -> tuple[frozenset[str], ...]:
    """Return the words of all texts of each folder of trainers and jobs."""
    folders: dict[Path, list[str]] = {}
    jobs = Path(kohya_gui.__file__).parent
    for path in (*Path(sd_scripts.__file__).parent.rglob("*.py"), *jobs.rglob("*.py")):
        texts = folders.setdefault(path.parent, [])
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return tuple(words_of(" ".join(texts)) for texts in folders.values())


def test_a_template_says_what_a_program_says() -> None:
    """Sentences are put together of pieces, so words are looked for, within one folder."""
    unsaid = []
    for key in KEYS:
        if key.startswith("problem.system."):
            continue  # said by the system itself
        fixed = " ".join(part for part, *_ in string.Formatter().parse(load_texts()(key)))
        wanted = words_of(fixed)
        if key.startswith("problem.count."):  # the plural is made by `words.count`
            wanted = frozenset(word.removesuffix("s") for word in wanted)
        if not any(wanted <= words for words in said_somewhere()):
            unsaid.append(key)
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


TOLD_WHOLLY = ("options", "dataset", "data", "curating")
"""Packages of which everything that a user can get wrong is told in every language."""
PIECES = (
    "«/x.1» «/x.1»",
    "«/x.1»: «/x.1»",
    "«/x.1»: pictures that «/x.1» can't be cached",
    "put pictures into it, or leave it out«/x.1»",
    "«/x.1» in «/x.1» can't be used: «/x.1»",
    "«/x.1» «/x.1»: «/x.1»",
    "«/x.1» of «/x.1» «/x.1» not there: «/x.1»",
    "there are no pictures to train on«/x.1»",
    "cached pictures cannot be «/x.1»",
    "cached captions stay the same, but «/x.1»",
)
"""Sentences that are put together of others, which stand as templates of their own."""


def example(node: ast.expr | None) -> str:
    """Return the text that an expression makes, with something for each value; else ""."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "«/x.1»" for part in node.values
        )
    return ""


def told_by(call: ast.Call) -> list[str]:
    """Return message and hint of a problem as it is made; nothing for another call."""
    hint_at = {"Problem": 2, "UserError": 9, "UnfitError": 1}.get(
        call.func.id if isinstance(call.func, ast.Name) else ""
    )
    if hint_at is None:
        return []
    hints = [word.value for word in call.keywords if word.arg in ("message", "hint")]
    texts = [example(node) for node in (*call.args[:1], *call.args[hint_at:][:1], *hints)]
    return [text for text in texts if " " in text]


@pytest.mark.parametrize("package", TOLD_WHOLLY)
def test_whatever_can_be_wrong_is_told_in_the_language(package: str) -> None:
    found: list[str] = []
    for path in sorted((Path(sd_scripts.__file__).parent / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found += told_by(node) if isinstance(node, ast.Call) else []
    assert len(found) > 10
    english = [text for text in found if text not in PIECES and told_in("ja", text) == text]
    assert english == [], "templates for these are missing in locales/problems/en.toml"
