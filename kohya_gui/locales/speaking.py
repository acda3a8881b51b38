"""The texts in the language of whoever asks: one GUI speaks several languages at once.

What answers a request looks its words up in that request's language. Pages, though, are built
once, for everybody: while they are built, each text is a *mark*, and marks become words when a page
is sent. A mark holds a quote and a backslash, so that whatever the page's code does to make a text
fit for HTML, for JSON or for both is seen in the mark and done to the words as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from kohya_gui.locales import ENGLISH, Texts, available_languages, load_texts
from kohya_gui.locales.told import told_in

COOKIE: Final = "kg-language"
BROWSERS_OWN: Final = "auto"
"""Stands in the settings for the language that a person's browser asks for."""

_asked: ContextVar[str | None] = ContextVar("language of this request", default=None)
_marking: ContextVar[bool] = ContextVar("a page is being built", default=False)


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


_WAYS: Final[dict[str, tuple[Callable[[str], str], ...]]] = {
    '"\\': (),
    "&quot;\\": (escape,),
    '\\"\\\\': (_in_json,),
    "&quot;\\\\": (escape, _in_json),
    "\\&quot;\\\\": (_in_json, escape),
}
"""How the beginning of a mark looks after what was done to it, with the same to do to the words."""
_MARK: Final = re.compile(r"@kg([^0-9@]+)(\d+)@")


class SpokenTexts(Texts):
    """Looks like the texts of one language, and is those of the language that is asked for."""

    def __init__(self, default: Callable[[], str]) -> None:
        """`default` tells the language for what no request asks for, such as background work."""
        super().__init__(ENGLISH, {})
        self._default = default
        self._marked: list[Callable[[Texts], str]] = []

    def now(self) -> Texts:
        """Return the texts of the language that is asked for."""
        return load_texts(_asked.get() or self._default())

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of `key`, or its mark while a page is built."""
        if _marking.get():
            load_texts()(key, **values)  # so that an unknown key or field fails at once
            return self._mark(lambda texts: texts(key, **values))
        return self.now()(key, **values)

    def keys(self) -> frozenset[str]:
        """Return every key there is."""
        return load_texts().keys()

    def optional(self, key: str, otherwise: str) -> str:
        """Return the text of `key`, or `otherwise`, or its mark while a page is built."""
        if _marking.get():
            return self._mark(lambda texts: texts.optional(key, otherwise))
        return self.now().optional(key, otherwise)

    def for_browser(self) -> str:
        """Return the texts for the page's scripts as JSON, or its mark while a page is built."""
        return self._mark(Texts.for_browser) if _marking.get() else self.now().for_browser()

    def code(self) -> str:
        """Return the code of the language, or its mark while a page is built."""
        return self._mark(lambda texts: texts.language) if _marking.get() else self.now().language

    def _mark(self, say: Callable[[Texts], str]) -> str:
        self._marked.append(say)
        return f'@kg"\\{len(self._marked) - 1}@'

    def speak(self, built: Any) -> Any:
        """Return plain data of a page with words for its marks; what has none is not copied."""
        return self._spoken(built, self.now())

    def _spoken(self, built: Any, texts: Texts) -> Any:
        if isinstance(built, str):
            if "@kg" not in built:
                return built
            return _MARK.sub(lambda mark: self._said(mark, texts), built)
        if isinstance(built, dict):
            parts = {name: self._spoken(part, texts) for name, part in built.items()}
            return parts if any(parts[name] is not built[name] for name in built) else built
        if isinstance(built, list | tuple):
            items = [self._spoken(part, texts) for part in built]
            if all(new is old for new, old in zip(items, built, strict=True)):
                return built
            return items if isinstance(built, list) else tuple(items)
        return built

    def _said(self, mark: re.Match[str], texts: Texts) -> str:
        words: str = self._spoken(self._marked[int(mark[2])](texts), texts)  # a value may be a mark
        for way in _WAYS[mark[1]]:
            words = way(words)
        return words


def told(english: str | None) -> str:
    """Return what a trainer tells in the language that is asked for, as far as it is known."""
    return told_in(_asked.get() or ENGLISH, english) if english else ""


def asked_texts() -> Texts:
    """Return the texts in the language of the request that is being answered, else in English."""
    return load_texts(_asked.get())


@contextmanager
def marking() -> Iterator[None]:
    """Let texts be marks: while pages are built."""
    before = _marking.set(True)
    try:
        yield
    finally:
        _marking.reset(before)


def chosen_language(cookie: str | None, setting: str, accept: str) -> str:
    """Return the language for a request: a person's choice, the setting, the browser's wish."""
    known = available_languages()
    if cookie in known:
        return str(cookie)
    if setting != BROWSERS_OWN:
        return setting if setting in known else ENGLISH
    return next((code for code in _wishes(accept) if code in known), ENGLISH)


def _wishes(accept: str) -> list[str]:
    """Return the languages of an Accept-Language header, the dearest first ("zh-TW" as "zh" too).

    Source: RFC 9110, section 12.5.4.
    """
    wishes: list[tuple[float, str]] = []
    for part in accept[:500].split(","):
        code, _, quality = part.strip().lower().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes += [(weight, code), (weight, code.split("-")[0])]
    wishes.sort(key=lambda wish: -wish[0])
    return [code for weight, code in wishes if weight > 0]


class LanguageChoice:
    """ASGI middleware: whatever answers a request speaks the language that it asks for."""

    def __init__(self, app: ASGIApp, setting: Callable[[], str]) -> None:
        self._app = app
        self._setting = setting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Set the language while a request is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        known = cookie in available_languages()
        setting = BROWSERS_OWN if known else self._setting()
        before = _asked.set(chosen_language(cookie, setting, headers.get("accept-language", "")))
        try:
            await self._app(scope, receive, send)
        finally:
            _asked.reset(before)
