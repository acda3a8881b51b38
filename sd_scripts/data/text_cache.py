"""The text encoder cache: captions' token states by text and encoder, on disk or in memory.

What is cached is the caption as it is trained (after prefix, suffix and separators), so jobs that
change captions from step to step can't use it; an empty caption is always there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor

from sd_scripts.data.batch import CachedText
from sd_scripts.data.identity import EncoderIdentity
from sd_scripts.data.kohya_text import KohyaTexts
from sd_scripts.data.long_work import Hooks
from sd_scripts.data.store import TensorStore, content_key
from sd_scripts.dataset.captions import static_caption
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.errors import UserError

CODE_VERSION: Final = "1"
"""Raise it when captions are tokenized or encoded differently than before."""

PHASE: Final = "Encoding captions"
_SHOWN: Final = 60


class EncodedText(Protocol):
    """What a family's `encode_text` gives: hidden [B, n, D], pooled [B, P] or None."""

    @property
    def hidden(self) -> Tensor: ...
    @property
    def pooled(self) -> Tensor | None: ...


class TextCache:
    """Text encoder outputs of a job's captions.

    `identity` covers all text encoders of the model; `max_token_length` and `clip_skip` are the
    job's options, since the outputs depend on them, as they do on `weighted` (brackets in captions
    say weights).
    """

    def __init__(
        self,
        cache_dir: Path,
        identity: EncoderIdentity,
        *,
        max_token_length: int | None,
        clip_skip: int | None,
        weighted: bool = False,
        in_memory: bool,
    ) -> None:
        self.store = TensorStore(cache_dir / "text", in_memory=in_memory)
        self.kohya: KohyaTexts | None = None
        """Captions that are taken from files of sd-scripts instead of being encoded."""
        self._facts: dict[str, object] = {
            "weights": identity.weights,
            "dtype": identity.dtype,
            "max_token_length": max_token_length,
            "clip_skip": clip_skip,
            "code": CODE_VERSION,
        }
        if weighted:
            self._facts["weighted"] = True

    def key(self, caption: str) -> str:
        """Return the key of one caption's outputs."""
        return content_key({**self._facts, "caption": caption})

    def missing(self, captions: Iterable[str]) -> list[str]:
        """Return the different captions that have to be encoded, sorted."""
        keys = {caption: self.key(caption) for caption in captions}
        done = self.store.existing(keys.values())
        taken = self.kohya.found if self.kohya is not None else {}
        return sorted(c for c, key in keys.items() if key not in done and c not in taken)

    def encode(
        self,
        captions: Iterable[str],
        encode: Callable[[Sequence[str]], EncodedText],
        hooks: Hooks,
        batch_size: int = 1,
    ) -> bool:
        """Encode those of `captions` that are missing; False if stopped before the end.

        `encode` is the family's `encode_text` for the loaded model. `UserError` if an output is
        not finite or the cache can't be written.
        """
        missing = self.missing(captions)
        for start in range(0, len(missing), batch_size):
            if hooks.should_stop():
                return False
            hooks.progress(PHASE, start, len(missing))
            together = missing[start : start + batch_size]
            with torch.no_grad():
                outputs = encode(together)
            self._keep(together, outputs)
        hooks.progress(PHASE, len(missing), len(missing))
        return True

    def get(self, captions: Sequence[str]) -> CachedText:
        """Return the outputs of captions that were encoded before, as one batch."""
        rows = [self.row(caption) for caption in captions]
        pooled = torch.stack([row["pooled"] for row in rows]) if "pooled" in rows[0] else None
        return CachedText(torch.stack([row["hidden"] for row in rows]), pooled)

    def row(self, caption: str) -> dict[str, Tensor]:
        """Return one caption's outputs: `hidden` [n, D], and `pooled` [P] if the model has it."""
        if self.kohya is None or caption not in self.kohya.found:
            return self.store.load(self.key(caption))
        taken = self.kohya.get(caption)
        if self.store.in_memory:
            self.store.save(self.key(caption), taken)
            self.kohya.leave([caption])
        return taken

    def _keep(self, captions: Sequence[str], outputs: EncodedText) -> None:
        for number, caption in enumerate(captions):
            tensors = {"hidden": outputs.hidden[number].cpu().clone()}
            if outputs.pooled is not None:
                tensors["pooled"] = outputs.pooled[number].cpu().clone()
            if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
                shown = caption if len(caption) <= _SHOWN else f"{caption[:_SHOWN]}…"
                raise UserError(
                    f"the text encoder gives NaN for the caption “{shown}”",
                    option="mixed_precision",
                    hint="try bf16 or no; if that does not help, the model file is damaged",
                )
            self.store.save(self.key(caption), tensors)


def captions_to_cache(plan: DatasetPlan) -> set[str]:
    """Return every caption a job with unchanging captions trains, and the empty one.

    The rules must be static (`CaptionRules.is_static`): the options refuse the others.
    """
    return {"", *(static_caption(one.caption, one.rules) for one in plan.all_samples)}
