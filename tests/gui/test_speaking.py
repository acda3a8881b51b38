"""Languages without a restart: pages are built once, with marks, and said in any language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import httpx
import pytest

import kohya_gui.locales as locales
from kohya_gui.locales import Texts, available_languages, load_texts, speaking
from kohya_gui.locales.speaking import SpokenTexts, chosen_language, marking
from tests.gui.test_server import LOGIN, Served

TRICKY = '“a” "b" <c> \\d & {e}'


class _Tricky(Texts):
    def __call__(self, key: str, **values: object) -> str:
        return TRICKY


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> SpokenTexts:
    """Texts that all say something that no place takes as it is."""
    monkeypatch.setattr(speaking, "load_texts", lambda *_: load_texts())
    made = SpokenTexts(lambda: "en")
    monkeypatch.setattr(made, "now", lambda: _Tricky("en", {}))
    return made


def test_words_are_made_fit_for_the_place_of_their_mark(text: SpokenTexts) -> None:
    with marking():
        mark = text("app.title")
    assert mark != "kohya_gui"
    for way in (
        str,
        escape,
        json.dumps,
        lambda t: json.dumps(escape(t)),
        lambda t: escape(json.dumps(t)),
    ):
        assert text.speak([f"<p>{way(mark)}</p>"]) == [
            f"<p>{way(TRICKY)}</p>".replace("\\u201c", "“").replace("\\u201d", "”")
        ]


def test_what_has_no_words_is_not_copied(text: SpokenTexts) -> None:
    with marking():
        mark = text("app.title")
    silent = {"a": [1, {"b": "c"}]}
    built = {"silent": silent, "said": (mark, 1)}
    spoken = text.speak(built)
    assert spoken["silent"] is silent
    assert spoken["said"] == (TRICKY, 1)
    assert text.speak(silent) is silent


def test_an_unknown_key_fails_while_the_page_is_built() -> None:
    with marking(), pytest.raises(KeyError):
        SpokenTexts(lambda: "en")("no.such.key")


KNOWN = ("en", "de", "zh-cn")


@pytest.mark.parametrize(
    ("cookie", "setting", "accept", "language"),
    [
        ("de", "en", "", "de"),
        ("tlh", "de", "", "de"),
        (None, "auto", "de-AT,de;q=0.9,en;q=0.5", "de"),
        (None, "auto", "fr, de;q=0.3, en;q=0.8", "en"),
        (None, "auto", "zh-CN", "zh-cn"),
        (None, "auto", "fr;q=x, ,;;", "en"),
        (None, "tlh", "de", "en"),
        (None, "en", "de", "en"),
    ],
)
def test_the_language_of_a_request(
    monkeypatch: pytest.MonkeyPatch, cookie: str | None, setting: str, accept: str, language: str
) -> None:
    monkeypatch.setattr(speaking, "available_languages", lambda: KNOWN)
    assert chosen_language(cookie, setting, accept) == language


def test_every_language_is_listed_under_its_own_name() -> None:
    names = locales.language_names()
    assert set(names) == set(available_languages())
    assert len(set(names.values())) == len(names)


def test_files_of_languages_are_named_by_their_codes() -> None:
    folder = Path(locales.__file__).parent
    assert {path.stem for path in folder.glob("*.toml")} == set(available_languages())


# ---- on the real server ----
@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page with a second language, made for the test: every text in capitals between stars."""
    folder = tmp_path_factory.mktemp("languages")
    english = locales.own_texts("en")

    def read(language: str) -> dict[str, str]:
        return english if language == "en" else {key: f"*{key}*" for key in english}

    patch = pytest.MonkeyPatch()
    patch.setattr(locales, "own_texts", read)
    for module in (locales, speaking):
        patch.setattr(module, "available_languages", lambda: ("en", "xx"))
    load_texts.cache_clear()
    page = Served(folder, ["--username", LOGIN[0], "--password", LOGIN[1]])
    yield page
    page.close()
    patch.undo()
    load_texts.cache_clear()


@contextmanager
def client(served: Served, language: str | None) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.address, trust_env=False, timeout=60) as made:
        if language:
            made.cookies.set("kg-language", language)
        made.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]})
        yield made


def test_two_people_read_two_languages_at_once(served: Served) -> None:
    with client(served, None) as one, client(served, "xx") as other:
        for _ in range(2):
            english, stars = one.get("/lora").text, other.get("/lora").text
            assert "*nav.settings*" in stars
            assert "*js.common.cancel*" in stars
            assert "opt-learning_rate" in stars
            assert "*nav." not in english
            assert load_texts()("settings.title") in one.get("/settings").text
        wish = {"Accept-Language": "xx"}
        assert "*nav.settings*" in one.get("/", headers=wish).text


def test_every_page_speaks_lets_one_choose_and_has_no_mark_left(served: Served) -> None:
    with client(served, "xx") as other:
        for page in served.blocks.config["page"]:
            text = other.get(f"/{page}").text
            assert "@kg" not in text, page
            assert "data-languages aria-label=" in text, page
            assert "*nav.settings*" in text, page
            assert "@kg" not in other.get("/config", params={"page": page}).text


def test_the_login_speaks_too(served: Served) -> None:
    with httpx.Client(base_url=served.address, trust_env=False, timeout=60) as nobody:
        assert "*app.login*" in nobody.get("/", headers={"Accept-Language": "xx"}).text


def test_answers_speak_the_askers_language(served: Served) -> None:
    found = {}
    for component in served.blocks.blocks.values():
        if hasattr(component, "ask_run"):
            found[component._id] = component
    with client(served, "xx") as other:
        call = {"component_id": next(iter(found)), "fn_name": "ask_run", "session_hash": "s"}
        body = {**call, "data": {"run": "nobody", "what": "stop"}}
        assert other.post("/gradio_api/component_server", json=body).json() == {
            "problem": "*run.unknown*"
        }


def test_no_event_waits_in_gradios_queue(served: Served) -> None:
    """What waits there is answered outside of its request, and would speak the default language."""
    waiting = [
        fn.name for fn in served.blocks.fns.values() if fn.queue is not False and fn.fn is not None
    ]
    assert waiting == []


def test_gradios_queue_sleeps(served: Served) -> None:
    assert served.blocks._queue.sleep_when_free > 0.1
    assert served.blocks._queue.progress_update_sleep_when_free > 0.1
