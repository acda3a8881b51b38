"""Texts: every key that is used exists, every key that exists is used, fields are filled in."""

from __future__ import annotations

import json
import re
import string
from dataclasses import replace
from pathlib import Path

import pytest

import kohya_gui
from kohya_gui.forms import preset_words
from kohya_gui.forms.layout import FIRST_STEPS
from kohya_gui.forms.option_words import english_words
from kohya_gui.forms.presets import presets_of
from kohya_gui.jobs.processes import Processes
from kohya_gui.locales import ENGLISH, available_languages, load_texts, own_texts
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, TrainNetworkJob
from sd_scripts.options.schema import option_specs
from tests.dataset.test_doctor import EXPECTED

PACKAGE = Path(kohya_gui.__file__).parent
SCRIPTS = "\n".join(path.read_text("utf-8") for path in PACKAGE.glob("assets/js/*.js"))
MODULES = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
TEXTS = load_texts()
KEYS = sorted(TEXTS.keys())
OF_OPTIONS = ("option.", "choice.", "group.", "unit.")


def used_keys(source: str, call: str) -> tuple[set[str], set[str]]:
    """Return keys given as plain texts, and the fixed beginnings of those put together."""
    plain = set(re.findall(rf"\b{call}\(\s*[\"'`]([\w.]+)[\"'`]", source))
    begun = set(re.findall(rf"\b{call}\(\s*f?[\"'`]([\w.]+?)(?:\$?\{{)", source))
    return plain, begun


def test_every_text_of_the_scripts_exists() -> None:
    plain, begun = used_keys(SCRIPTS, "t")
    keys = {key.removeprefix("js.") for key in KEYS if key.startswith("js.")}
    assert len(plain) > 60
    assert plain - keys == set()
    assert [start for start in begun if not any(key.startswith(start) for key in keys)] == []


def test_everything_that_the_doctor_finds_has_a_name() -> None:
    assert {f"js.dataset.problem_{code}" for code in (*EXPECTED, "unequal")} <= set(KEYS)


def test_no_text_is_left_over() -> None:
    js_plain, js_begun = used_keys(SCRIPTS, "t")
    texts = {f"js.{key}" for key in js_plain}
    starts = {f"js.{key}" for key in js_begun}
    unused = {
        key
        for key in KEYS
        if key not in texts
        and not any(key.startswith(start) for start in starts)
        and f'"{key}"' not in MODULES
        and f"'{key}'" not in MODULES
    }
    put_together = ("job.", "next.", "state.", "js.family.", "js.form.tier_", "settings.busy_")
    put_together += ("start.", "teach.goal.", "teach.step.", "teach.card.", "teach.word.")
    put_together += ("teach.changeable.", "teach.sum.", "teach.advice.", "teach.next.")
    put_together += (
        "problem.",
        "job_name.",
        "remedy.",
        "remedy_cost.",
        "remedy_goes_on.",
        "teach.machine_",
        "try.field_",
        "captioning.",
        "settings.secret_",
        "settings.keyring_",
        "takes.",
        *(f"settings.{name}" for name in Processes.model_fields),
    )
    assert {key for key in unused if not key.startswith(put_together)} == set()


@pytest.mark.parametrize("language", available_languages())
def test_every_language_has_the_same_fields_in_its_texts(language: str) -> None:
    texts = load_texts(language)
    for key in KEYS:
        fields = {name for _, name, _, _ in string.Formatter().parse(texts(key)) if name}
        own = {name for _, name, _, _ in string.Formatter().parse(TEXTS(key)) if name}
        assert fields == own, key


def test_every_job_and_its_first_steps_have_texts() -> None:
    for job, steps in FIRST_STEPS.items():
        for key in ("title", "lead", *(step.key for step in steps)):
            assert TEXTS(f"job.{job}.{key}")
        for step in steps:
            assert TEXTS(f"job.{job}.{step.key}_why")


def test_keys_for_options_name_options() -> None:
    names = {spec.name for job in JOBS.values() for spec in option_specs(job)}
    given = {key.split(".")[1] for key in KEYS if key.startswith("option.")}
    assert given - names == set()


def test_fields_are_filled_in_and_a_missing_one_is_a_fault() -> None:
    assert "mycat" in TEXTS("form.from_run", run="mycat")
    with pytest.raises(KeyError):
        TEXTS("form.from_run", other="x")
    with pytest.raises(KeyError):
        TEXTS("no.such.key")


def test_the_scripts_get_theirs_as_json() -> None:
    sent = json.loads(TEXTS.for_browser())
    assert sent["common.cancel"] == "Cancel"
    assert not any(key.startswith("js.") for key in sent)


@pytest.mark.parametrize("code", ["en", "EN", "en-GB", "en_US", None])
def test_a_language_is_found_by_its_code(code: str | None) -> None:
    assert load_texts(code).language == "en"


def test_a_language_without_texts_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError) as caught:
        load_texts("tlh")
    assert "en" in (caught.value.problems[0].hint or "")


@pytest.mark.parametrize("language", available_languages())
def test_a_language_lacks_no_text_and_has_none_too_many(language: str) -> None:
    texts, english = own_texts(language), own_texts(ENGLISH)
    missing, extra = english.keys() - texts.keys(), texts.keys() - english.keys()
    optional = {key for key in extra if key.startswith((*OF_OPTIONS, "preset."))}
    assert (sorted(missing), sorted(extra - optional)) == ([], [])
    assert [key for key, text in texts.items() if not text.strip()] == []


def test_every_other_language_names_and_explains_every_option() -> None:
    words = english_words()
    for language in set(available_languages()) - {ENGLISH}:
        texts = own_texts(language)
        given = {key for key in texts if key.startswith(OF_OPTIONS)}
        found = (language, sorted(words.keys() - given), sorted(given - words.keys()))
        assert found == (language, [], [])
        names = [key for key, english in words.items() if "`" in english and "`" not in texts[key]]
        assert names == []


def test_every_other_language_names_and_explains_every_preset() -> None:
    words = preset_words.english_words()
    assert len(words) > 50
    for language in set(available_languages()) - {ENGLISH}:
        given = {key for key in own_texts(language) if key.startswith("preset.")}
        assert (language, words.keys() ^ given) == (language, set())


def test_what_is_usual_for_an_option_is_the_same_in_every_job() -> None:
    for part in ("typical", "cost"):
        said: dict[str, set[str]] = {}
        for spec in (one for job in JOBS.values() for one in option_specs(job)):
            if words := (spec.typical if part == "typical" else spec.cost):
                said.setdefault(spec.name, set()).add(words)
        assert {name: words for name, words in said.items() if len(words) > 1} == {}


def test_presets_speak_the_language_but_for_the_users_own() -> None:
    german = load_texts("de")
    shipped = presets_of(TrainNetworkJob)[0]
    own = replace(shipped, group="own", title="My own")
    assert preset_words.note(shipped, "train_network", german) != shipped.note
    assert preset_words.note(shipped, "train_network", TEXTS) == shipped.note
    assert preset_words.title(own, "train_network", german) == "My own"
