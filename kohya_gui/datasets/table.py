"""The pictures of a data set as rows for the page: filtered, with bucket, tokens and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kohya_gui.datasets.captions import Caption, CaptionBook
from kohya_gui.datasets.scan import DatasetScan, Picture
from kohya_gui.reasons import told_of
from sd_scripts.dataset.buckets import BucketSettings, Placer
from sd_scripts.dataset.caption_edit import tags_of
from sd_scripts.dataset.decisions import Decisions, PictureDecision
from sd_scripts.dataset.doctor.findings import Report
from sd_scripts.dataset.tokens import CHUNK, count_all

UNREADABLE: Final = "unreadable"
NO_CAPTION: Final = "no_caption"
BAD_CAPTION: Final = "bad_caption"
TOO_LONG: Final = "too_long"
OWN_PROBLEMS: Final = (UNREADABLE, BAD_CAPTION, NO_CAPTION, TOO_LONG)
NUM_TAGS: Final = 500
_MAX_KEPT_COUNTS: Final = 200_000


@dataclass(frozen=True)
class ViewSettings:
    """How a data set is looked at: the captions' ending, the training size, where tokens end."""

    ending: str = ".txt"
    resolution: int = 512
    max_tokens: int = CHUNK

    def placer(self) -> Placer:
        """Return what gives each picture its bucket, with the usual bounds."""
        side = self.resolution
        low, high = min(256, side), max(1024, 2 * side)
        return Placer(BucketSettings((side, side), True, low, high, 64))


@dataclass(frozen=True)
class Wish:
    """Which pictures are wanted; what is empty asks for nothing.

    `state` is "excluded" or "used". `ids` are chosen pictures.
    """

    text: str = ""
    tag: str = ""
    lacks: str = ""
    problem: str = ""
    folder: str | None = None
    state: str = ""
    ids: frozenset[str] = frozenset()

    @classmethod
    def from_request(cls, data: Mapping[str, Any]) -> Wish:
        """Read what the script sent; anything unfit counts as nothing."""
        chosen, folder = data.get("ids"), data.get("folder_in")
        return cls(
            text=str(data.get("text") or "").strip().casefold(),
            tag=str(data.get("tag") or "").strip().casefold(),
            lacks=str(data.get("lacks") or "").strip().casefold(),
            problem=str(data.get("problem") or ""),
            folder=folder if isinstance(folder, str) else None,
            state=str(data.get("state") or ""),
            ids=frozenset(map(str, chosen)) if isinstance(chosen, list) else frozenset(),
        )


@dataclass
class TokenCounts:
    """Numbers of tokens, remembered by the caption."""

    _known: dict[str, int] = field(default_factory=dict)

    def of(self, captions: Sequence[str]) -> list[int]:
        """Return the number of tokens of each caption, without begin and end."""
        new = [one for one in dict.fromkeys(captions) if one not in self._known]
        if new:
            if len(self._known) > _MAX_KEPT_COUNTS:
                self._known.clear()
                new = list(dict.fromkeys(captions))
            self._known.update(zip(new, count_all(new), strict=True))
        return [self._known[one] for one in captions]


class Table:
    """One look at a data set: everything is read when it is made, then asked for."""

    def __init__(
        self,
        scan: DatasetScan,
        book: CaptionBook,
        settings: ViewSettings,
        decisions: Decisions | None,
        report: Report | None,
    ) -> None:
        self.scan = scan
        self.settings = settings
        self._book = book
        self._decisions = decisions
        self._placer = settings.placer()
        self._findings: dict[str, list[tuple[str, str]]] = {}
        self._codes: list[str] = []
        for finding in report.findings if report else ():
            if finding.weight != "note":
                self._codes.append(finding.code)
                for path in finding.pictures:
                    detail = finding.details.get(path, "")
                    self._findings.setdefault(path, []).append((finding.code, detail))

    def caption(self, picture: Picture) -> Caption:
        """Return a picture's caption file as it is now."""
        return self._book.read(picture.texts[self.settings.ending])

    def decision(self, picture: Picture) -> PictureDecision:
        """Return what was decided about a picture."""
        if self._decisions is None:
            return PictureDecision()
        relative = picture.path.relative_to(self.scan.folder).as_posix()
        return self._decisions.pictures.get(relative, PictureDecision())

    def chosen(self, wish: Wish, counts: TokenCounts) -> list[Picture]:
        """Return the pictures that a wish asks for."""
        pictures = [one for one in self.scan.pictures if self._fits(one, wish)]
        if wish.problem == TOO_LONG:
            longest = self._longest(pictures, counts)
            return [one for one in pictures if longest[one.id] > self.settings.max_tokens]
        return pictures

    def problem_counts(self, counts: TokenCounts) -> dict[str, int]:
        """Return how many pictures have each problem, those without any left out."""
        found: Counter[str] = Counter()
        for picture in self.scan.pictures:
            found.update({code for code, _ in self._problems(picture, self.caption(picture))})
        longest = self._longest(self.scan.pictures, counts)
        found[TOO_LONG] = sum(one > self.settings.max_tokens for one in longest.values())
        order = [*OWN_PROBLEMS, *self._codes]
        return {code: found[code] for code in order if found[code]}

    def tags(self, pictures: Sequence[Picture]) -> tuple[list[tuple[str, int]], int]:
        """Return the tags of pictures with their numbers, most frequent first, and how many."""
        counted: Counter[str] = Counter()
        for picture in pictures:
            captions = self.caption(picture).captions
            counted.update({tag for caption in captions for tag in tags_of(caption)})
        ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0].casefold(), pair[0]))
        return ordered[:NUM_TAGS], len(ordered)

    def rows(self, pictures: Sequence[Picture], counts: TokenCounts) -> list[dict[str, Any]]:
        """Return pictures as plain data for the script."""
        longest = self._longest(pictures, counts)
        return [self._row(picture, longest[picture.id]) for picture in pictures]

    def _row(self, picture: Picture, tokens: int) -> dict[str, Any]:
        caption, decision = self.caption(picture), self.decision(picture)
        name = picture.path.name
        problems = [(code, told_of(name, why)) for code, why in self._problems(picture, caption)]
        if tokens > self.settings.max_tokens:
            problems.append((TOO_LONG, ""))
        captions = caption.captions
        return {
            "id": picture.id,
            "name": picture.name,
            "size": picture.size,
            "caption": captions[0] if captions else "",
            "captions": len(captions),
            "tags": len(tags_of(captions[0])) if captions else 0,
            "tokens": tokens,
            "problems": problems,
            "excluded": decision.exclude,
            **self.placement(picture),
        }

    def placement(self, picture: Picture) -> dict[str, Any]:
        """Return bucket, and the part that is seen as left, top, width, height in shares of 1."""
        if picture.size is None:
            return {"bucket": None, "seen": None}
        width, height = picture.size
        window = self.decision(picture).crop
        left, top = (window.left, window.top) if window else (0, 0)
        inner = window.size if window and window.fits(picture.size) else picture.size
        placed = self._placer.place(inner)
        if not all(placed.bucket):
            return {"bucket": None, "seen": None}
        wide = placed.bucket[0] / placed.resized[0] * inner[0]
        high = placed.bucket[1] / placed.resized[1] * inner[1]
        seen = (left + (inner[0] - wide) / 2, top + (inner[1] - high) / 2, wide, high)
        shares = [part / (width, height)[place % 2] for place, part in enumerate(seen)]
        return {
            "bucket": placed.bucket,
            "seen": [round(share, 4) for share in shares],
            "enlarged": inner[0] < placed.resized[0],
        }

    def _longest(self, pictures: Sequence[Picture], counts: TokenCounts) -> dict[str, int]:
        captions = [(one.id, text) for one in pictures for text in self.caption(one).captions]
        numbers = counts.of([text for _, text in captions])
        longest = {picture.id: 0 for picture in pictures}
        for (key, _), number in zip(captions, numbers, strict=True):
            longest[key] = max(longest[key], number)
        return longest

    def _problems(self, picture: Picture, caption: Caption) -> Iterator[tuple[str, str]]:
        if picture.problem:
            yield UNREADABLE, picture.problem
        if caption.problem:
            yield BAD_CAPTION, caption.problem
        elif not caption.captions:
            yield NO_CAPTION, ""
        yield from self._findings.get(str(picture.path), ())

    def _fits(self, picture: Picture, wish: Wish) -> bool:
        if wish.ids and picture.id not in wish.ids:
            return False
        if wish.folder is not None and picture.name.rpartition("/")[0] != wish.folder:
            return False
        if wish.state and not self._has_state(picture, wish.state):
            return False
        caption = self.caption(picture)
        if wish.text:
            texts = (picture.name, *caption.captions)
            if not any(wish.text in text.casefold() for text in texts):
                return False
        if wish.tag or wish.lacks:
            tags = {tag.casefold() for one in caption.captions for tag in tags_of(one)}
            if (wish.tag and wish.tag not in tags) or (wish.lacks and wish.lacks in tags):
                return False
        if wish.problem and wish.problem != TOO_LONG:
            return any(code == wish.problem for code, _ in self._problems(picture, caption))
        return True

    def _has_state(self, picture: Picture, state: str) -> bool:
        excluded = self.decision(picture).exclude
        return excluded if state == "excluded" else not excluded
