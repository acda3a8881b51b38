"""Why a run failed: a table of signatures in its last words, each with a cause and a remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sd_scripts.errors import Problem

_TRACEBACK: Final = "Traceback (most recent call last):"
_PROBLEM: Final = re.compile(
    r"^Error(?: \[(?P<option>[^\]\n]+)\])?: (?P<message>.+)$(?:\n {2}→ (?P<hint>.+)$)?",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Explanation:
    """What happened in one sentence, what to do about it, and the option to look at, if any."""

    kind: str
    cause: str
    hint: str
    option: str | None = None


@dataclass(frozen=True)
class Signature:
    """One row: words that give a failure away. Named groups of `pattern` may stand in `cause`."""

    kind: str
    pattern: str
    cause: str
    hint: str
    option: str | None = None

    def match(self, text: str) -> Explanation | None:
        """Return the explanation of the last place in `text` that fits, or None."""
        matches = list(re.finditer(self.pattern, text, re.MULTILINE))
        if not matches:
            return None
        named = matches[-1].groupdict()
        found = {key: (value or "").strip() for key, value in named.items()}
        return Explanation(self.kind, self.cause.format(**found).strip(), self.hint, self.option)


# Order matters: the first row that fits wins, so the narrow ones come first.
SIGNATURES: Final = (
    Signature(
        "disk_full",
        r"No space left on device|\bENOSPC\b|not enough space on the disk|WinError 112"
        r"|Disk quota exceeded",
        "The disk is full.",
        "Free some space or choose an output folder on another disk, then resume.",
        "output_dir",
    ),
    Signature(
        "gpu_memory",
        r"(?:CUDA|HIP|MPS backend|XPU) out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED"
        r"|cudaErrorMemoryAllocation",
        "The graphics card ran out of memory.",
        "Turn on gradient_checkpointing, cache_latents and mixed_precision, lower the batch size"
        " or the resolution, and close other programs that use the card.",
        "train_batch_size",
    ),
    Signature(
        "shared_memory",
        r"insufficient shared memory|Bus error.*shm|killed by signal: Bus error",
        "The loader processes ran out of shared memory.",
        "Set max_data_loader_n_workers to 0, or give the container more shared memory"
        " (--shm-size).",
        "max_data_loader_n_workers",
    ),
    Signature(
        "memory",
        r"^MemoryError|: MemoryError|can't allocate memory|Cannot allocate memory|std::bad_alloc"
        r"|not enough memory: you tried to allocate|paging file is too small|WinError 1455",
        "The computer ran out of memory.",
        "Close other programs, lower max_data_loader_n_workers, the batch size or the resolution,"
        " or cache latents to disk.",
        "max_data_loader_n_workers",
    ),
    Signature(
        "worker_killed",
        r"DataLoader worker \(pid[^)]*\) (?:is killed by signal|exited unexpectedly)",
        "A loader process was ended from outside, most likely because memory ran out.",
        "Lower max_data_loader_n_workers, or set it to 0.",
        "max_data_loader_n_workers",
    ),
    Signature(
        "no_kernel",
        r"no kernel image is available|CUDA capability sm_\d+ is not compatible"
        r"|invalid device function",
        "The installed PyTorch has no code for this graphics card.",
        "Run the setup's doctor: it names the PyTorch build that fits the card.",
    ),
    Signature(
        "driver",
        r"driver (?:version )?is (?:insufficient|too old)|NVIDIA driver on your system is too old"
        r"|Found no NVIDIA driver|not compiled with CUDA enabled|CUDA driver initialization failed"
        r"|No HIP GPUs are available|No CUDA GPUs are available",
        "The graphics driver and the installed PyTorch do not fit together.",
        "Run the setup's doctor; most often the driver needs an update.",
    ),
    Signature(
        "device_fault",
        r"device-side assert|unspecified launch failure|illegal memory access"
        r"|CUDA error: (?!out of memory)|CUDNN_STATUS_(?!NOT_SUPPORTED)\w+",
        "The graphics card reported a fault in the middle of the work.",
        "Start again from the last save; if it comes back, undo overclocking, update the driver,"
        " and try without mixed precision.",
    ),
    Signature(
        "compiling",
        r"torch\._(?:dynamo|inductor)\.exc\.(?P<name>\w+)|BackendCompilerFailed|FailOnRecompileLimit",
        "PyTorch could not compile the U-Net. {name}",
        "Switch torch_compile off; training is then as exact, only slower.",
        "torch_compile",
    ),
    Signature(
        "nan",
        r"(?i)\bloss (?:is|was|became) (?:nan|inf|infinite|not a number|not finite)\b"
        r"|\bnon-?finite loss\b|\bnan(?:s)? (?:in|detected|encountered)\b",
        "The loss became infinite or not a number.",
        "Lower the learning rate; with fp16 use bf16 or no_half_vae; look for broken pictures.",
        "learning_rate",
    ),
    Signature(
        "picture",
        r"cannot identify image file '?(?P<path>[^'\n]*)'?|image file is truncated(?P<p2>)"
        r"|broken data stream|DecompressionBomb|PictureProblem",
        "A picture could not be read. {path}",
        'Take the picture out of the folder or save it again; bad_images = "skip" passes over'
        " such files.",
        "bad_images",
    ),
    Signature(
        "model_file",
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeaderDeserialization"
        r"|PytorchStreamReader failed|Weights only load failed|UnpicklingError",
        "A model file is broken, cut short, or not what its name says.",
        "Download the file again and compare its size with the one given at its source.",
        "pretrained_model_name_or_path",
    ),
    Signature(
        "size_mismatch",
        r"size mismatch for|mat1 and mat2 shapes cannot be multiplied"
        r"|Error\(s\) in loading state_dict",
        "Weights do not fit the model: they belong to another family or other dimensions.",
        "Check that the model, network_weights and the state to resume belong together.",
        "network_weights",
    ),
    Signature(
        "dtype",
        r"expected (?:m1 and m2|mat1 and mat2|scalar type|\w+ to have) .*dtype"
        r"|expected scalar type \w+ but found|not implemented for '(?:Half|BFloat16)'"
        r"|must have the same dtype|Input type \(.*\) and (?:weight|bias) type",
        "Two parts of the model use number formats that do not fit together.",
        'Set mixed_precision to "no" or "bf16" and leave full_fp16 and full_bf16 off.',
        "mixed_precision",
    ),
    Signature(
        "import",
        r"No module named '(?P<name>[\w.]+)'|(?:ImportError|DLL load failed)[^\n]*?(?P<n2>)$",
        "A part of the program is missing or does not fit the others. {name}",
        "Run the setup again; its doctor names what is missing.",
    ),
    Signature(
        "offline",
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|outgoing traffic has been disabled"
        r"|Max retries exceeded|couldn't connect to",
        "Something should have been fetched from the network, which is not allowed or not there.",
        "Choose a local model file or folder, or allow downloads in the settings.",
        "pretrained_model_name_or_path",
    ),
    Signature(
        "permission",
        r"(?:PermissionError|Permission denied|Access is denied|Read-only file system)"
        r"(?:[^\n']*'(?P<path>[^'\n]+)')?",
        "A file or folder may not be read or written. {path}",
        "Change its rights, close programs that hold it open, or choose another folder.",
        "output_dir",
    ),
    Signature(
        "missing_file",
        r"(?:No such file or directory|cannot find the (?:file|path) specified)"
        r"(?:: '(?P<path>[^'\n]+)')?",
        "A file or folder is not there. {path}",
        "It was moved, renamed or deleted, or its drive is not connected.",
    ),
    Signature(
        "too_many_files",
        r"Too many open files",
        "The system's limit for open files was reached.",
        "Lower max_data_loader_n_workers, or raise the limit (ulimit -n).",
        "max_data_loader_n_workers",
    ),
    Signature(
        "crash",
        r"Fatal Python error: (?P<name>[^\n]+)|^Segmentation fault",
        "A library crashed. {name}",
        "Update the driver and run the setup's doctor; without xformers and bitsandbytes it may"
        " work.",
    ),
    Signature(
        "interrupted",
        r"^KeyboardInterrupt",
        "It was interrupted from the keyboard.",
        "Use Stop next time: it saves before it ends.",
    ),
)


def explain(text: str) -> Explanation | None:
    """Return the explanation of a log's tail, a traceback or a reason; None if none is known.

    The last traceback is looked at first, since earlier lines may hold faults that were mended.
    """
    start = text.rfind(_TRACEBACK)
    parts = [text[start:], text[:start]] if start > 0 else [text]
    for part in parts:
        for signature in SIGNATURES:
            if found := signature.match(part):
                return found
    return None


def last_error_line(text: str) -> str | None:
    """Return the line that names the exception of the last traceback in `text`, if it has one."""
    start = text.rfind(_TRACEBACK)
    if start < 0:
        return None
    for line in text[start:].splitlines()[1:]:
        # Frames and source lines are indented; the first line that is not names the exception.
        if line.strip() and not line[0].isspace() and line[0] not in "╭│╰":
            return line.strip()[:500]
    return None


def told_problems(text: str) -> tuple[Problem, ...]:
    """Return the problems that a script wrote before it gave up, without an event of it.

    The format is that of the scripts' own error lines: "Error [option]: message", and below it,
    indented, "→ hint".
    """
    return tuple(
        Problem(found["message"].strip(), found["option"], found["hint"])
        for found in _PROBLEM.finditer(text)
    )
