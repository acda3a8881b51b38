"""A captioner by transformers: loaded from a local folder, asked about batches of pictures."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from sd_scripts.captioning.asking import ASKERS, Asker, Inputs
from sd_scripts.captioning.captioner_folder import KINDS, model_type
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import UserError
from sd_scripts.families.devices import choose_device, choose_dtype
from sd_scripts.options.groups.captioning import WordingOptions
from sd_scripts.options.jobs import MakeCaptionsJob


def generation_settings(wording: WordingOptions, *, counts_prompt: bool) -> dict[str, Any]:
    """Return how words are chosen, in transformers' terms."""
    if wording.beam_search:
        chosen: dict[str, Any] = {"do_sample": False, "num_beams": wording.num_beams}
    else:
        chosen = {"do_sample": True, "num_beams": 1, "top_p": wording.top_p}
    kind = "length" if counts_prompt else "new_tokens"
    return {**chosen, f"max_{kind}": wording.max_length, f"min_{kind}": wording.min_length}


def load_model(folder: Path, class_name: str, dtype: torch.dtype) -> Any:
    """Load a model's weights from a local folder. Raises `UserError` if they do not fit."""
    noise: Any = transformers.utils.logging
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    try:
        model, told = getattr(transformers, class_name).from_pretrained(
            folder,
            local_files_only=True,
            dtype=dtype,
            output_loading_info=True,
            weights_only=True,
        )
    except pickle.UnpicklingError as error:
        raise _unfit(folder, "its weights are a pickle with code in it") from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise _unfit(folder, str(error).splitlines()[0]) from error
    if missing := sorted(told["missing_keys"]):
        raise _unfit(folder, f"weights are missing, {missing[0]} first")
    return model.eval()


def _unfit(folder: Path, why: str) -> UserError:
    return UserError(
        f"The captioner in {shown(folder)} cannot be loaded: {why}",
        option="caption_weights",
        hint="Copy it again. It must be in transformers' own layout, without code of its own.",
    )


class Captioner:
    """The engine of a captioning job, in `folder`; `title` is what kind it is."""

    def __init__(self, folder: Path, job: MakeCaptionsJob) -> None:
        """Load the model. Raises `UserError` with what the user can mend."""
        kind = model_type(folder)
        prompt = job.captioner.caption_prompt or KINDS[kind].prompt
        self.title = KINDS[kind].title
        self.batch_size = job.inference.batch_size
        self.device = choose_device(job.inference.device)
        self.dtype = choose_dtype(job.captioner.precision, self.device)
        self._around = (job.files.prefix or "", job.files.postfix or "")
        class_name, make_asker = ASKERS[kind]
        self._asker = _asker(make_asker, folder, prompt)
        self._settings = generation_settings(job.wording, counts_prompt=self._asker.counts_prompt)
        self._model = load_model(folder, class_name, self.dtype).to(self.device)
        torch.manual_seed(job.wording.seed)

    def prepare(self, picture: Image.Image) -> Any:
        """Prepare one picture for the model."""
        return self._asker.prepare(picture)

    def collate(self, prepared: Sequence[Any]) -> Inputs:
        """Make the inputs of a batch."""
        return self._asker.collate(prepared)

    @torch.inference_mode()
    def infer(self, batch: Inputs) -> Sequence[str]:
        """Return a caption for each picture."""
        given = {
            name: values.to(self.device, self.dtype if values.is_floating_point() else None)
            for name, values in batch.items()
        }
        tokens = self._model.generate(**given, **self._settings)
        return self._asker.answers(tokens, batch)

    def text(self, outcome: str) -> str:
        """Return the caption with what stands before and after each."""
        return outcome.join(self._around)

    def close(self) -> None:
        """Free the model's memory."""
        del self._model
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _asker(make: Any, folder: Path, prompt: str | None) -> Asker:
    try:
        asker: Asker = make(folder, prompt)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise _unfit(folder, f"its processor: {str(error).splitlines()[0]}") from error
    return asker
