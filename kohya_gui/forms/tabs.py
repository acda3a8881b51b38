"""Which tab a draft belongs to: the one that opened it last; any other goes on with a copy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kohya_gui.forms.drafts import Draft, Drafts

WRITER = "writer"
"""In what a draft is about: the tab that writes it."""
_OF_THE_FIRST = ("queued", "version", "name")
"""What a copy does not take along: only one form changes a waiting job."""


@dataclass(frozen=True)
class Tab:
    """A form in a browser: the draft that it was opened with, and a mark that no other has."""

    draft_id: str
    writer: str

    @classmethod
    def of(cls, mark: object) -> Tab:
        """Read what the page sends along with every event."""
        draft_id, _, writer = (mark if isinstance(mark, str) else "").partition(":")
        return cls(draft_id, writer)

    @property
    def mark(self) -> str:
        """What the page sends along with every event."""
        return f"{self.draft_id}:{self.writer}"

    @property
    def copy_id(self) -> str:
        """The draft that this tab goes on with when another one took its own."""
        return hashlib.blake2b(self.mark.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where a tab's form is kept. `about` goes into it; `parted` tells that it is a new copy."""

    draft_id: str
    about: Mapping[str, str]
    parted: bool = False


def place_of(drafts: Drafts, tab: Tab, job: str) -> Place:
    """Return where the form of a tab is kept: in its draft as long as no other tab opened that."""
    about = {WRITER: tab.writer}
    first = drafts.load(tab.draft_id, job)
    if first is None or first.about.get(WRITER, tab.writer) == tab.writer:
        return Place(tab.draft_id, about)
    if drafts.load(tab.copy_id, job) is not None:
        return Place(tab.copy_id, about)
    kept = {name: value for name, value in first.about.items() if name not in _OF_THE_FIRST}
    return Place(tab.copy_id, {**kept, **about}, parted=True)


def of_tab(draft: Draft, place: Place) -> Draft:
    """Return a draft as it is kept for a tab."""
    return replace(draft, about={**draft.about, **place.about})
