"""diffusers and transformers imported without the optional packages they would pull in.

diffusers imports bitsandbytes, peft and scipy as soon as it finds them, though a trainer needs none
of them for it: two of the six seconds before the first line of work. A package hidden here during
that one import can be imported by name afterwards, as optimizers do with bitsandbytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

NOT_NEEDED: Final = ("bitsandbytes", "peft", "scipy", "torchvision", "onnx", "onnxruntime")


@contextmanager
def hidden_packages(names: Sequence[str]) -> Iterator[None]:
    """Let packages that are not imported yet look as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python marks "not importable"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_model_libraries(*, needed: Sequence[str] = ()) -> None:
    """Import the model classes that every run needs, and nothing that it does not.

    `needed` names packages among `NOT_NEEDED` that this run does need (scipy, for one sampler).

    For a trainer's process alone, before anything else imports diffusers: what diffusers saw as
    missing stays switched off in it (its loading of LoRA through peft, for one).
    """
    with hidden_packages([name for name in NOT_NEEDED if name not in needed]):
        import diffusers.models.autoencoders.autoencoder_kl
        import diffusers.models.unets.unet_2d_condition  # noqa: F401
        import transformers.models.clip.modeling_clip
        import transformers.models.clip.tokenization_clip
        import transformers.optimization  # noqa: F401
