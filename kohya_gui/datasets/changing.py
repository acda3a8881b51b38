"""Changing the captions of many pictures: first shown, then written exactly as it was shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kohya_gui.datasets.captions import CaptionBook, Written
from kohya_gui.datasets.metadata import CaptionPlace
from kohya_gui.datasets.scan import Picture
from sd_scripts.dataset.caption_edit import CaptionEdit, count_tags, edit_of
from sd_scripts.dataset.caption_edit_file import CaptionFile, clean_captions

NUM_SHOWN: Final = 40


@dataclass
class Draft:
    """What an edit would change. `mark` stands for exactly this; `closed` can't be written, why."""

    edit: CaptionEdit
    files: dict[CaptionPlace, CaptionFile] = field(default_factory=dict)
    marks: dict[CaptionPlace, str] = field(default_factory=dict)
    names: dict[CaptionPlace, str] = field(default_factory=dict)
    before: dict[CaptionPlace, tuple[str, ...]] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    num_new: int = 0

    @property
    def mark(self) -> str:
        """A text that differs for different changes, or for the same ones to other files."""
        digest = hashlib.blake2b(repr(self.edit).encode("utf-8", "replace"), digest_size=12)
        for path, text in self.files.items():
            row = f"\n{path}\n{self.marks[path]}\n{text.captions}"
            digest.update(row.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def shown(self) -> dict[str, Any]:
        """Return the preview as plain data for the script."""
        some = list(self.files.items())[:NUM_SHOWN]
        changed = [text.captions for text in self.files.values()]
        tags_before, tags_after = count_tags(list(self.before.values())), count_tags(changed)
        return {
            "mark": self.mark,
            "count": len(self.files),
            "new_files": self.num_new,
            "rows": [
                {
                    "name": self.names[path],
                    "before": list(self.before[path]),
                    "after": list(text.captions),
                }
                for path, text in some
            ],
            "closed": list(self.closed.items())[:NUM_SHOWN],
            "num_closed": len(self.closed),
            "new_tags": len(tags_after.keys() - tags_before.keys()),
            "gone_tags": len(tags_before.keys() - tags_after.keys()),
        }


def draft_edit(
    book: CaptionBook, pictures: Sequence[Picture], ending: str, data: Mapping[str, Any]
) -> Draft:
    """Work out what an edit changes; nothing is written. Raises `UserError`."""
    draft = Draft(edit_of(data))
    captions = {picture.texts[ending]: book.read(picture.texts[ending]) for picture in pictures}
    names = {picture.texts[ending]: picture.name for picture in pictures}
    present = [one for one in captions.values() if one.text is not None]
    results = draft.edit.apply([one.captions for one in present])
    for one, result in zip(present, results, strict=True):
        assert one.text is not None, "only what could be read is changed"
        wanted = clean_captions(result)
        if wanted == one.captions:
            continue
        draft.files[one.path] = one.text.with_captions(wanted)
        draft.marks[one.path] = one.mark
        draft.names[one.path] = names[one.path]
        draft.before[one.path] = one.captions
        draft.num_new += one.mark.startswith("none")
    for one in captions.values():
        if one.text is None:
            draft.closed[names[one.path]] = one.problem
    return draft


def write_draft(book: CaptionBook, draft: Draft, title: str) -> Written:
    """Write what was shown, as one step that can be undone. Raises `OSError`."""
    return book.write(title, draft.files, draft.marks)
