"""A tagger in an ONNX file: what it wants is read from the file, and it is run by onnxruntime."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sd_scripts.captioning.labels import TaggerFiles, TagList
from sd_scripts.captioning.square import bgr_square
from sd_scripts.captioning.tags import Numbers, ScoredTag, TagChooser
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.groups.captioning import Device
from sd_scripts.options.jobs import TagImagesJob

if TYPE_CHECKING:
    import onnxruntime

Layout = Literal["NHWC", "NCHW"]

USUAL_SIDE: Final = 448
_CHANNELS: Final = 3
_TYPES: Final[dict[str, type[np.floating[Any]]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_PROVIDERS: Final[dict[Device, tuple[str, ...]]] = {
    "cuda": ("CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider"),
    "directml": ("DmlExecutionProvider",),
    "mps": ("CoreMLExecutionProvider",),
    "xpu": ("OpenVINOExecutionProvider",),
    "cpu": ("CPUExecutionProvider",),
}
_TRIED: Final[tuple[Device, ...]] = ("cuda", "directml", "cpu")
"""What is tried when the job names no device, best first."""


@dataclass(frozen=True)
class Interface:
    """What a tagger takes: pictures of `side` pixels, `batch_size` at a time (None: any)."""

    input_name: str
    output_name: str
    layout: Layout
    side: int
    batch_size: int | None
    dtype: type[np.floating[Any]]


def choose_provider(wanted: Device | None, available: Sequence[str]) -> tuple[Device, str]:
    """Return the device and onnxruntime's name for what runs on it. Raises `UserError`."""
    for device in _TRIED if wanted is None else (wanted,):
        for provider in _PROVIDERS[device]:
            if provider in available:
                return device, provider
    names = [d for d, providers in _PROVIDERS.items() if set(providers) & set(available)]
    raise UserError(
        f"The installed onnxruntime cannot run taggers on {wanted}",
        option="device",
        hint=f"Choose {' or '.join(names)}, or leave it empty.",
    )


def available_providers() -> list[str]:
    """Return what the installed onnxruntime can run models with. Raises `UserError`."""
    return cast(list[str], _runtime().get_available_providers())


def _runtime() -> ModuleType:
    """Import onnxruntime. Raises `UserError` if it is not there."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "onnxruntime is not installed, which runs taggers",
            option="model_dir",
            hint="Install it: pip install onnxruntime (onnxruntime-gpu for NVIDIA cards).",
        ) from error
    return cast(ModuleType, onnxruntime)


def open_session(model: Path, provider: str, option: str) -> onnxruntime.InferenceSession:
    """Load a model for a provider, the CPU behind it. Raises `UserError`, naming `option`."""
    runtime = _runtime()
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3  # errors; what it tells below is for its own developers
    # Threads that spin while they wait take the cores from those that prepare pictures.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider == "DmlExecutionProvider":
        # Required by DirectML: https://onnxruntime.ai/docs/execution-providers/DirectML-ExecutionProvider.html
        settings.enable_mem_pattern = False
        settings.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    providers = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
    try:
        session = runtime.InferenceSession(str(model), settings, providers=providers)
    except Exception as error:  # onnxruntime's own errors share no class but this
        raise UserError(
            f"{shown(model)} cannot be loaded: {str(error).splitlines()[0]}",
            option=option,
            hint="Copy or download it again; if it is fine, try device cpu.",
        ) from error
    return cast("onnxruntime.InferenceSession", session)


def read_interface(session: onnxruntime.InferenceSession, num_labels: int) -> Interface:
    """Read what a model takes and gives. Raises `UserError` if it is no tagger of this kind."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise _no_tagger(f"it has {len(inputs)} inputs in place of one picture")
    shape, kind = list(inputs[0].shape), inputs[0].type
    if kind not in _TYPES:
        raise _no_tagger(f"its input is {kind}, not floating-point numbers")
    if len(shape) != 4 or _CHANNELS not in (shape[1], shape[3]):
        raise _no_tagger(f"its input is {shape}, not pictures of three colours")
    layout: Layout = "NHWC" if shape[3] == _CHANNELS else "NCHW"
    height, width = (shape[1], shape[2]) if layout == "NHWC" else (shape[2], shape[3])
    if height != width and isinstance(height, int) and isinstance(width, int):
        raise _no_tagger(f"its pictures are {width} x {height}, not square")
    given = outputs[0].shape[-1] if outputs[0].shape else None
    if isinstance(given, int) and given != num_labels:
        raise _no_tagger(f"it gives {given} numbers, but its list has {num_labels} tags")
    return Interface(
        input_name=inputs[0].name,
        output_name=outputs[0].name,
        layout=layout,
        side=height if isinstance(height, int) else USUAL_SIDE,
        batch_size=shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None,
        dtype=_TYPES[kind],
    )


def _no_tagger(why: str) -> UserError:
    return UserError(
        f"The model is not a tagger as it should be: {why}",
        option="model_dir",
        hint="Choose the folder of a WD14 tagger; model and list of tags must belong together.",
    )


class OnnxTagger:
    """The engine of a tagging job. `frequency` counts the pictures each tag was found in."""

    def __init__(self, files: TaggerFiles, tag_list: TagList, job: TagImagesJob) -> None:
        """Load the model. Raises `UserError` with what the user can mend."""
        device, batch_size = job.inference.device, job.inference.batch_size
        self.device, provider = choose_provider(device, available_providers())
        self._session = open_session(files.model, provider, "model_dir")
        self.problems: list[Problem] = []
        if provider not in self._session.get_providers():
            self.problems.append(_not_used(self.device, explicit=device is not None))
            self.device = "cpu"
        self.interface = read_interface(self._session, len(tag_list.labels))
        self.batch_size = self.interface.batch_size or batch_size
        if self.batch_size != batch_size:
            self.problems.append(
                Problem(
                    f"This tagger takes {self.batch_size} pictures at a time, not {batch_size}",
                    "batch_size",
                    f"Set batch_size to {self.batch_size}.",
                    severity="warning",
                )
            )
        self.frequency: Counter[str] = Counter()
        self._is_mapping = tag_list.kind == "mapping"
        self._num_labels = len(tag_list.labels)
        self._chooser = TagChooser(tag_list, job.tags)
        self._separator = job.tags.caption_separator

    def prepare(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Return the picture as a square, [side, side, 3], BGR."""
        return bgr_square(picture, self.interface.side)

    def collate(self, prepared: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[Any], int]:
        """Return a batch in the model's layout and range, and how many pictures are in it: a batch
        of fixed size is filled up with zeros.

        Taggers with `tag_mapping.json` take -1 to 1, others 0 to 255.
        """
        batch = np.stack(prepared, dtype=np.float32)
        if self._is_mapping:
            batch = batch / np.float32(127.5) - np.float32(1)
        if self.interface.layout == "NCHW":
            batch = batch.transpose(0, 3, 1, 2)
        if (fixed := self.interface.batch_size) is not None and len(batch) < fixed:
            empty = np.zeros((fixed - len(batch), *batch.shape[1:]), batch.dtype)
            batch = np.concatenate([batch, empty])
        return np.ascontiguousarray(batch, self.interface.dtype), len(prepared)

    def infer(self, batch: tuple[NDArray[Any], int]) -> Sequence[Numbers]:
        """Return each picture's probabilities, [number of labels]."""
        pictures, count = batch
        fed = {self.interface.input_name: pictures}
        (numbers,) = self._session.run([self.interface.output_name], fed)
        if numbers.shape != (len(pictures), self._num_labels):
            raise _no_tagger(
                f"it gives {list(numbers.shape)} numbers for {len(pictures)} pictures and "
                f"{self._num_labels} tags"
            )
        found = _sigmoid(numbers) if self._is_mapping else numbers.astype(np.float32)
        return list(found[:count])

    def text(self, outcome: Numbers) -> str:
        """Return the tags of a picture as they are written."""
        tags = self._chooser.choose(outcome)
        self.frequency.update(tags)
        return self._separator.join(tags)

    def scored(self, outcome: Numbers, most: int) -> list[ScoredTag]:
        """Return the tags that `text` writes and the surest others, with their scores."""
        return self._chooser.scored(outcome, most)

    def close(self) -> None:
        """Free the model's memory."""
        del self._session
        gc.collect()


def _sigmoid(numbers: NDArray[Any]) -> Numbers:
    wide = numbers.astype(np.float64)
    return (1 / (1 + np.exp(-np.clip(wide, -700, 700)))).astype(np.float32)


def _not_used(device: Device, *, explicit: bool) -> Problem:
    return Problem(
        f"onnxruntime knows {device} but could not start it, so the tagger would run on the CPU",
        "device",
        "Install its libraries (for cuda: CUDA and cuDNN), or choose cpu.",
        severity="error" if explicit else "warning",
    )
