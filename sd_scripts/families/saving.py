"""Writing a whole trained model: one file in its family's layout, or a folder in diffusers' layout.

What does not learn is not taken from memory, where it may have another number format, but from the
model's own files: it comes out as it went in. These stay mapped while the run lasts, so a save
does not depend on their names, and costs no memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from sd_scripts.families.base import LoadedModel
from sd_scripts.families.configs import family_configs
from sd_scripts.families.detect import OPTION
from sd_scripts.families.modules import Placing
from sd_scripts.families.sources import VAE_OPTION, load_replacement_vae, open_source
from sd_scripts.families.text import tokenizer_for
from sd_scripts.files import atomic_folder
from sd_scripts.weights.checkpoint import open_weights
from sd_scripts.weights.checkpoint_keys import TEXT_PLACES, UNetLayout
from sd_scripts.weights.checkpoint_save import (
    Stored,
    made_up,
    markers,
    number_format,
    taken_over,
    text_entries,
    unet_entries,
    vae_entries,
)
from sd_scripts.weights.files import (
    check_space,
    save_pickle_atomic,
    stream_safetensors_atomic,
)
from sd_scripts.weights.folders import read_json
from sd_scripts.weights.model_kinds import FamilyName, Owner

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

METADATA_FILE: Final = "training_metadata.json"
"""Beside the parts of a saved folder: what a single file has in its header."""
_DIFFUSERS_WEIGHTS: Final = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_TEXT_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
_PIPELINES: Final[Mapping[FamilyName, str]] = {
    "sd1": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
}


class ModelSaver:
    """Writes a model whose parts `learning` are in memory and all others in its files.

    Raises `UserError` if these files lack a part.
    """

    def __init__(self, model: LoadedModel, learning: frozenset[Owner]) -> None:
        self._model = model
        self._family: FamilyName = model.family.name
        source = open_source(model.info.path, self._family)
        stored = Placing(None, "cpu", OPTION)
        numbers = range(model.family.num_text_encoders)
        owners: tuple[Owner, ...] = ("te1", "te2")
        living: dict[Owner, nn.Module] = dict(zip(owners, model.text_encoders, strict=False))
        self._unet: nn.Module = model.unet if "unet" in learning else source.unet(stored)
        self._text: list[nn.Module] = [
            living[owners[n]] if owners[n] in learning else source.text_encoder(n, stored)
            for n in numbers
        ]
        if model.options.vae is None:
            self._vae: nn.Module = source.vae(stored)
        else:
            place = Placing(None, "cpu", VAE_OPTION)
            path = Path(model.options.vae).expanduser()
            self._vae = load_replacement_vae(path, self._family, place)
        pads = family_configs(self._family).tokenizer_pads
        self._tokenizers: list[CLIPTokenizer] = [
            tokenizer_for(cast(Any, self._text[n]), pads[n], source.tokenizer_folder(n), OPTION)
            for n in numbers
        ]
        path = model.info.path
        self._file = open_weights(path, option=OPTION) if path.is_file() else None
        self._scheduler = self._scheduler_config(path)

    def _scheduler_config(self, path: Path) -> dict[str, Any]:
        own = path / "scheduler" / "scheduler_config.json"
        config = family_configs(self._family).scheduler
        if own.is_file():
            config = read_json(own, OPTION)
        config["prediction_type"] = self._model.prediction_type
        if self._model.zero_terminal_snr:
            config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return config

    def entries(self, dtype: torch.dtype | None) -> dict[str, Stored]:
        """Return all tensors of the single file by their keys; `dtype` None: as they are."""
        config = _config_of(self._unet)
        layout = UNetLayout.of(config["layers_per_block"], config["up_block_types"])
        found = unet_entries(self._unet.state_dict(), layout, dtype)
        levels = len(_config_of(self._vae)["block_out_channels"])
        states = [encoder.state_dict() for encoder in self._text]
        for place, state in zip(TEXT_PLACES[self._family], states, strict=True):
            found |= text_entries(state, place, dtype)
        found |= vae_entries(self._vae.state_dict(), levels, dtype)
        if self._file is not None:
            found |= taken_over(self._file, self._family, found, dtype)
        else:
            found |= made_up(self._family, states, found)
        model = self._model
        marks = markers(
            self._family, model.prediction_type, zero_terminal_snr=model.zero_terminal_snr
        )
        return {**marks, **found}

    def num_bytes(self, dtype: torch.dtype | None) -> int:
        """Return the bytes of all tensors of a saved model."""
        modules = (self._unet, self._vae, *self._text)
        tensors = [tensor for module in modules for tensor in module.state_dict().values()]
        return sum(_size(tensor, dtype) for tensor in tensors)

    def save_file(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write one file in the format of its ending, atomically; only safetensors has metadata.

        Raises `OSError` if it cannot be written; what was at `path` is then still there.
        """
        entries = self.entries(dtype)
        if Path(path).suffix == ".safetensors":
            layout = {key: entry.announced for key, entry in entries.items()}
            stream_safetensors_atomic(
                layout, lambda key: entries[key].read(), path, {"format": "pt", **metadata}
            )
            return
        tensors = {key: entry.read() for key, entry in entries.items()}
        counts = {"global_step": metadata.get("ss_steps"), "epoch": metadata.get("ss_epoch")}
        told = {name: int(count) for name, count in counts.items() if count is not None}
        save_pickle_atomic({"state_dict": tensors, **told}, path)

    def save_folder(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
        *,
        safetensors: bool = True,
    ) -> None:
        """Write a folder that diffusers loads, in one atomic step; else as `save_file`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        check_space(path, self.num_bytes(dtype))
        kind = 0 if safetensors else 1
        with atomic_folder(path) as folder:
            for name, module in (("unet", self._unet), ("vae", self._vae)):
                _write_part(folder / name, module, _DIFFUSERS_WEIGHTS[kind], dtype, str)
            for number, encoder in enumerate(self._text):
                suffix = f"_{number + 1}" if number else ""
                _write_part(
                    folder / f"text_encoder{suffix}", encoder, _TEXT_WEIGHTS[kind], dtype, _nested
                )
                self._tokenizers[number].save_pretrained(str(folder / f"tokenizer{suffix}"))
            _write_json(folder / "scheduler" / "scheduler_config.json", self._scheduler)
            _write_json(folder / "model_index.json", self._index())
            _write_json(folder / METADATA_FILE, dict(metadata))

    def _index(self) -> dict[str, Any]:
        index: dict[str, Any] = {
            "_class_name": _PIPELINES[self._family],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", self._scheduler["_class_name"]],
        }
        if self._family == "sdxl":
            index["force_zeros_for_empty_prompt"] = True
        else:
            index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
            index["requires_safety_checker"] = False
        for number, encoder in enumerate(self._text):
            suffix = f"_{number + 1}" if number else ""
            index[f"text_encoder{suffix}"] = ["transformers", type(encoder).__name__]
            index[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer"]
        return index


def _size(tensor: Tensor, dtype: torch.dtype | None) -> int:
    return tensor.numel() * torch.empty(0, dtype=number_format(tensor, dtype)).element_size()


def _config_of(module: nn.Module) -> dict[str, Any]:
    """Return a module's configuration as its own library writes it."""
    config: Any = module.config
    if hasattr(config, "to_dict"):
        found = dict(config.to_dict())
        found["architectures"] = [type(module).__name__]
        return found
    writer: Any = module
    return dict(json.loads(writer.to_json_string()))


def _nested(name: str) -> str:
    """Return a text encoder's tensor name as stock files have it."""
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_part(
    folder: Path,
    module: nn.Module,
    file: str,
    dtype: torch.dtype | None,
    rename: Callable[[str], str],
) -> None:
    _write_json(folder / "config.json", _config_of(module))
    entries = {
        rename(name): Stored((tensor,), number_format(tensor, dtype))
        for name, tensor in module.state_dict().items()
    }
    if file.endswith(".safetensors"):
        layout = {name: entry.announced for name, entry in entries.items()}
        stream_safetensors_atomic(
            layout, lambda name: entries[name].read(), folder / file, {"format": "pt"}
        )
    else:
        save_pickle_atomic({name: entry.read() for name, entry in entries.items()}, folder / file)
