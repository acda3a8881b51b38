"""A model in memory with what acts on it: made ready for a picture, and painted with."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.families.base import LoadedModel, LoadOptions, TextConditioning
from sd_scripts.families.detect import ResolvedModel, inspect_model, resolve_model
from sd_scripts.families.devices import choose_device, choose_dtype
from sd_scripts.families.registry import FAMILIES
from sd_scripts.options.groups.painting import PaintingOptions
from sd_scripts.painting.networks import OPTION, WORDS_OPTION, Networks, Words
from sd_scripts.painting.orders import BaseChoice, Order, Picture
from sd_scripts.runs.machine import give_back_memory
from sd_scripts.script import is_out_of_memory
from sd_scripts.train.paint import decode, denoise
from sd_scripts.train.preview_text import encode_prompt, too_long
from sd_scripts.train.prompts import PreviewPrompt
from sd_scripts.weights.headers import read_header

_Stamp = tuple[tuple[str, int, int], ...]
_LOADING: Final = "loading the model"
Progress = Callable[[str, int, int], None]


class Studio:
    """Keeps one model, and changes it only as far as the next picture needs."""

    def __init__(self, painting: PaintingOptions, progress: Progress) -> None:
        """Choose device and number format. Raises `UserError` for what is not there."""
        self.device = choose_device(painting.device)
        able = self.device.type == "xpu"
        if self.device.type == "cuda":
            able = torch.cuda.is_bf16_supported()
        on_cards = torch.bfloat16 if able else torch.float16
        self.dtype = choose_dtype(painting.precision, self.device, on_cards)
        self._progress = progress
        self._loaded: tuple[BaseChoice, _Stamp] | None = None
        self._model: LoadedModel | None = None
        self._networks: Networks | None = None
        self._words: Words | None = None

    def make_ready(self, order: Order) -> list[Problem]:
        """Load the order's model unless it is there; return warnings.

        Raises `UserError` with everything that is wrong with the order's files.
        """
        problems: list[Problem] = []
        resolved = _resolved(order.base, problems)
        paths = _distinct(use.path for picture in order.pictures for use in picture.networks)
        words = _distinct(use.path for picture in order.pictures for use in picture.words)
        for option, files in ((OPTION, paths), (WORDS_OPTION, words)):
            for path in files:
                problems += _header_problems(path, option)
        raise_if_errors(problems)
        assert resolved is not None
        self._load(order.base, resolved)
        assert self._networks is not None
        assert self._model is not None
        for path in paths:
            problems += self._networks.problems(path)
        raise_if_errors(problems)
        problems += too_long(self._model, [preview_prompt(picture) for picture in order.pictures])
        return problems

    def paint(self, base: BaseChoice, picture: Picture, at_step: Callable[[], bool]) -> Image.Image:
        """Paint one picture. `at_step` is called before each sampler step; True ends the work.

        Raises `Interrupted` then, `UserError` for what the user can mend.
        """
        model, networks, words = self._model, self._networks, self._words
        assert model is not None, "the model is made ready first"
        assert networks is not None
        assert words is not None
        words.apply(picture.words)
        networks.apply(picture.networks)

        def encode(texts: list[str]) -> TextConditioning:
            return encode_prompt(model, texts, base.clip_skip)

        with torch.no_grad():
            with self._autocast():
                latents = denoise(model, [preview_prompt(picture)], [picture.seed], encode, at_step)
            return self._decode(model, latents)

    def unload(self) -> None:
        """Let go of the model and all it takes."""
        self._loaded = self._model = self._networks = self._words = None
        self.free()

    def free(self) -> None:
        """Give memory back that nothing uses."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        give_back_memory()

    def _load(self, base: BaseChoice, resolved: ResolvedModel) -> None:
        wanted = (base.model_copy(update={"clip_skip": None}), _stamp(base))
        if self._loaded == wanted:
            return
        self.unload()
        self._progress(_LOADING, 0, 1)
        options = LoadOptions(
            dtype=self.dtype,
            vae=Path(base.vae).expanduser() if base.vae else None,
            device=self.device,
            resolved=resolved,
        )
        path = Path(base.path).expanduser()
        self._model = FAMILIES[resolved.family].load(path, options)
        self._networks, self._words = Networks(self._model), Words(self._model)
        self._loaded = wanted
        self._progress(_LOADING, 1, 1)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _decode(self, model: LoadedModel, latents: torch.Tensor) -> Image.Image:
        """Decode latents; a VAE that fails in half precision goes on in full precision."""
        assert model.vae is not None
        for attempt in range(2):
            try:
                return decode(model, latents)[0]
            except RuntimeError as error:
                weight = next(model.vae.parameters())
                whole = weight.dtype == torch.float32 or not torch.isfinite(latents).all()
                if is_out_of_memory(error):
                    raise
                if attempt or whole:
                    raise UserError(
                        f"The model paints no valid picture: {error}",
                        option="precision",
                        hint="Lower the strengths, or choose another precision or VAE.",
                    ) from error
                model.vae.to(torch.float32)  # type: ignore[arg-type]
        raise AssertionError("the second attempt returns or raises")


def preview_prompt(picture: Picture) -> PreviewPrompt:
    """Return an ordered picture as the painters of previews know it."""
    return PreviewPrompt(
        picture.prompt,
        negative_prompt=picture.negative_prompt,
        width=picture.width,
        height=picture.height,
        sample_steps=picture.sample_steps,
        scale=picture.scale,
        seed=picture.seed,
        sample_sampler=picture.sample_sampler,
    )


def _resolved(base: BaseChoice, problems: list[Problem]) -> ResolvedModel | None:
    """Look at the model without loading it; what is wrong is added to `problems`."""
    try:
        found, told = resolve_model(inspect_model(base.path), base.v2, base.v_parameterization)
    except UserError as error:
        problems += error.problems
        return None
    problems += told
    if base.vae and not Path(base.vae).expanduser().exists():
        problems.append(Problem(f"there is no {base.vae}", "vae", "check the path"))
    return found


def _header_problems(path: str, option: str) -> list[Problem]:
    try:
        read_header(Path(path).expanduser(), option)
    except UserError as error:
        return list(error.problems)
    return []


def _distinct(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(paths))


def _stamp(base: BaseChoice) -> _Stamp:
    """Return what changes when the model's files are replaced."""
    found = []
    for place in (base.path, base.vae):
        path = Path(place).expanduser() if place else None
        files = [] if path is None else sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            facts = file.stat()
            found.append((str(file), facts.st_mtime_ns, facts.st_size))
    return tuple(found)
