"""What a caption becomes in one training step: the pipeline in sd-scripts' exact order.

All chance comes from the `random.Random` that is passed in; nothing global is touched.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

_WILDCARD = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class CaptionRules:
    """How the captions of one subset are changed at each step; the names are the options' names."""

    caption_separator: str = ","
    shuffle_caption: bool = False
    keep_tokens: int = 0
    keep_tokens_separator: str = ""
    secondary_separator: str | None = None
    enable_wildcard: bool = False
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: float = 0.0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0

    @property
    def splits_tags(self) -> bool:
        """Whether captions are taken apart at the separator at all (and joined with ", ")."""
        return (
            self.shuffle_caption or self.token_warmup_step > 0 or self.caption_tag_dropout_rate > 0
        )

    @property
    def is_static(self) -> bool:
        """Whether a caption is the same at every step, so that its encoding may be cached."""
        return not (
            self.splits_tags
            or self.enable_wildcard
            or self.caption_dropout_rate > 0
            or self.caption_dropout_every_n_epochs > 0
        )


def process_caption(
    text: str,
    rules: CaptionRules,
    *,
    step: int,
    max_steps: int,
    epoch: int,
    rng: random.Random,
) -> str:
    """The caption that is trained at optimizer step `step` (from 0) of `epoch` (from 1).

    Order: prefix and suffix, drop-out, wildcards, split into tags, warm-up, shuffle, tag drop-out,
    join, secondary separator. With a text of several lines the prefix belongs to the first and the
    suffix to the last one, since the line is chosen after they are added.
    """
    if rules.caption_prefix:
        text = f"{rules.caption_prefix} {text}"
    if rules.caption_suffix:
        text = f"{text} {rules.caption_suffix}"
    if _drops_out(rules, epoch, rng):
        return ""
    text = _choose_wildcards(text, rng) if rules.enable_wildcard else text.split("\n")[0]
    if rules.splits_tags:
        fixed, flexible, suffix = _split_tags(text, rules)
        flexible = _warm_up(flexible, rules, step, max_steps)
        if rules.shuffle_caption:
            rng.shuffle(flexible)
        if rules.caption_tag_dropout_rate > 0:
            flexible = [tag for tag in flexible if rng.random() >= rules.caption_tag_dropout_rate]
        text = ", ".join(fixed + flexible + suffix)
    if rules.secondary_separator:
        text = text.replace(rules.secondary_separator, rules.caption_separator)
    return text


def static_caption(text: str, rules: CaptionRules) -> str:
    """The caption that is trained at every step; the rules must be static."""
    assert rules.is_static, "captions that change can't be cached"
    return process_caption(text, rules, step=0, max_steps=1, epoch=1, rng=random.Random(0))


def _drops_out(rules: CaptionRules, epoch: int, rng: random.Random) -> bool:
    if rules.caption_dropout_rate > 0 and rng.random() < rules.caption_dropout_rate:
        return True
    every = rules.caption_dropout_every_n_epochs
    return every > 0 and epoch % every == 0


def _choose_wildcards(text: str, rng: random.Random) -> str:
    """Choose one line, then one alternative of each `{a|b}`; `{{` and `}}` are plain braces."""
    if "\n" in text:
        text = rng.choice(text.split("\n"))
    opening, closing = "⦅", "⦆"
    while opening in text or closing in text:
        opening, closing = opening + "⦅", closing + "⦆"
    text = text.replace("{{", opening).replace("}}", closing)
    text = _WILDCARD.sub(lambda match: rng.choice(match.group(1).split("|")), text)
    return text.replace(opening, "{").replace(closing, "}")


def _tags(text: str, separator: str) -> list[str]:
    return [tag.strip() for tag in text.split(separator) if tag.strip()]


def _split_tags(text: str, rules: CaptionRules) -> tuple[list[str], list[str], list[str]]:
    """Tags that stay in front, tags that may move or go, tags that stay at the end."""
    separator, mark = rules.caption_separator, rules.keep_tokens_separator
    if mark and mark in text:
        front, rest = text.split(mark, 1)
        middle, _, end = rest.partition(mark)
        return _tags(front, separator), _tags(middle, separator), _tags(end, separator)
    tags = [tag.strip() for tag in text.strip().split(separator)]
    keep = max(0, rules.keep_tokens)
    return tags[:keep], tags[keep:], []


def _warm_up(tags: list[str], rules: CaptionRules, step: int, max_steps: int) -> list[str]:
    """The first tags only, growing from `token_warmup_min` to all over the warm-up steps."""
    length = rules.token_warmup_step
    if length < 1:
        length = math.floor(length * max_steps)
    if not length or step >= length:
        return tags
    grown = math.floor(step * ((len(tags) - rules.token_warmup_min) / length))
    return tags[: grown + rules.token_warmup_min]
