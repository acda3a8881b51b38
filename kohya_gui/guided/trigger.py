"""The new word: suggested, and checked against the words that the model knows already."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sd_scripts.dataset.new_word import word_pattern
from sd_scripts.dataset.tokens import word_pieces, word_rank

MOST_PIECES: Final = 4
"""A word of more pieces takes room from the caption, and a slip of the hand breaks it."""
_WORD: Final = r"[^\s,.;:!?()]+"
_CONSONANTS: Final = "bdfgkmnprtvwxz"
_VOWELS: Final = "aeiou"
_SHORTEST_KNOWN: Final = 3
"""Shorter pieces are syllables rather than words."""
_COMMON_RANK: Final = 3000
"""Pieces that came later (of 49,406) are rather syllables or names than words one thinks of."""

Verdict = Literal["empty", "odd", "known", "parts", "long", "good"]


@dataclass(frozen=True)
class WordCheck:
    """What is to be said of a word: the verdict, its pieces, and the known words among them."""

    word: str
    verdict: Verdict
    pieces: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def tone(self) -> Literal["good", "warn", "bad"]:
        """How bad it is: a word that cannot work, one that might, a good one."""
        if self.verdict in ("empty", "odd"):
            return "bad"
        return "good" if self.verdict == "good" else "warn"


def check_word(word: str) -> WordCheck:
    """Look at a word as the text encoder will read it."""
    word = word.strip()
    if not word:
        return WordCheck(word, "empty")
    if re.search(r"[,\s{}|()\[\]:<>\\\"]", word):
        return WordCheck(word, "odd")
    pieces = word_pieces(word)
    if len(pieces) == 1:
        return WordCheck(word, "known", pieces, pieces)
    known = tuple(piece for piece in pieces if _is_common(piece))
    if known:
        return WordCheck(word, "parts", pieces, known)
    return WordCheck(word, "long" if len(pieces) > MOST_PIECES else "good", pieces)


def _is_common(piece: str) -> bool:
    rank = word_rank(piece)
    return len(piece) >= _SHORTEST_KNOWN and rank is not None and rank < _COMMON_RANK


def suggest_word(name: str, captions: Iterable[str], seed: str) -> str:
    """Return a word to teach: one that all captions hold already, else one made from the name.

    The same `seed` gives the same word.
    """
    if common := _common_word(captions):
        return common
    chance = random.Random(seed)
    bare = re.sub(r"[^a-z]", "", name.casefold())
    skeleton = re.sub(r"[aeiou]", "", bare)[:4]
    tries = [skeleton + end for end in ("x", "zk", "wq")] if len(skeleton) > 1 else []
    tries += ["".join(chance.choice(_CONSONANTS) for _ in range(3)) + "q" for _ in range(40)]
    good = (one for one in tries if check_word(one).verdict == "good")
    return next(good, f"zx{chance.choice(_VOWELS)}q{chance.randrange(10)}")


def _common_word(captions: Iterable[str]) -> str:
    """Return the first word of the captions that all of them hold and no model knows."""
    texts = [text.casefold() for text in captions]
    if not texts:
        return ""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(re.findall(_WORD, text)))
    words: list[str] = re.findall(_WORD, texts[0])
    shared = (word for word in words if counts[word] == len(texts))
    return next((word for word in shared if check_word(word).verdict == "good"), "")


def count_with(word: str, captions: Iterable[str]) -> int:
    """Return how many captions hold the word."""
    if not word:
        return 0
    wanted = re.compile(word_pattern(word), re.IGNORECASE)
    return sum(wanted.search(text) is not None for text in captions)
