"""Options that sd-scripts has and this program not, so that their names are not "unknown".

A file written for sd-scripts may hold them as long as they are off: then nothing is lost by
leaving them out. Adding one of them to a group means deleting its row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sd_scripts.options.key_values import parse_value

_TAKE_OUT: Final = "take it out"
_UPLOAD: Final = "take it out; “hf upload” sends the finished folder"


@dataclass(frozen=True)
class Later:
    """One of sd-scripts' options: its default, other values that switch it off, and its master.

    An option has no effect while its `master` option is off. `needless` ones need no support:
    `hint` says why, and they are passed over with a warning. `records` is the name under which a
    trained file of sd-scripts notes the (default) value.
    """

    name: str
    default: object = None
    off: tuple[object, ...] = ()
    master: str | None = None
    needless: bool = False
    hint: str = _TAKE_OUT
    records: str | None = None


def _under(master: str, **defaults: object) -> list[Later]:
    return [Later(name, default, master=master) for name, default in defaults.items()]


def _flags(*names: str) -> list[Later]:
    return [Later(name, False) for name in names]


def _needless(hint: str, *names: str) -> list[Later]:
    return [Later(name, needless=True, hint=hint) for name in names]


_DEEPSPEED: Final = {
    "zero_stage": 2,
    "offload_optimizer_device": None,
    "offload_optimizer_nvme_path": None,
    "offload_param_device": None,
    "offload_param_nvme_path": None,
    "zero3_init_flag": False,
    "zero3_save_16bit_model": False,
    "fp16_master_weights_and_gradients": False,
}

_ROWS: Final[list[Later]] = [
    # what this program does in its own way
    *_needless("models are read straight into place anyway", "disable_mmap_load_safetensors"),
    *_needless("memory is looked after without it", "lowram", "highvram", "lowvram"),
    *_needless("the tokenizers come with the program", "tokenizer_cache_dir"),
    *_needless("a cache entry is found by its content, so none can be stale", "skip_cache_check"),
    *_needless("sizes and captions are remembered in the cache folder anyway", "cache_info"),
    *_needless("sd-scripts does not use it either", "no_token_padding", "noise_offset_type"),
    *_needless("safetensors is the usual format; see save_model_as", "use_safetensors"),
    *_needless(
        "the whole log is in the run's folder",
        "console_log_level",
        "console_log_file",
        "console_log_simple",
    ),
    *_needless("set max_train_epochs to train by epochs", "epoch"),
    Later("output_config", False, hint="use --print_config"),
    Later("debug_dataset", False, hint="use --check_only"),
    # secrets and upload
    Later("wandb_api_key", hint="take it out, and run wandb login once"),
    Later("huggingface_repo_id", hint=_UPLOAD),
    *_under(
        "huggingface_repo_id",
        huggingface_repo_type=None,
        huggingface_path_in_repo=None,
        huggingface_token=None,
        huggingface_repo_visibility=None,
        async_upload=False,
    ),
    Later("save_state_to_huggingface", False, hint=_UPLOAD),
    Later("resume_from_huggingface", False, hint="fetch the state with “hf download”"),
    # pictures and captions
    Later("dataset_class"),
    # memory, speed, several devices
    *_flags("cpu_offload_checkpointing", "diffusers_xformers"),
    *_needless(
        "processes exchange their gradients without the wrapper it is for",
        "ddp_gradient_as_bucket_view",
        "ddp_static_graph",
    ),
    Later("deepspeed", False, hint="docs/several-processes.md says what saves memory instead"),
    *_under("deepspeed", **_DEEPSPEED),
    # where to start
    *(Later(name, off=(0,), hint="use resume") for name in ("initial_epoch", "initial_step")),
    Later("skip_until_initial_step", False, hint="resume always goes on at the exact step"),
]

LATER: Final[dict[str, Later]] = {row.name: row for row in _ROWS}

assert len(LATER) == len(_ROWS)


def _says_off(row: Later, value: object) -> bool:
    read = parse_value(value) if isinstance(value, str) else value
    if read is None or read is False or read in ("", [], ()):
        return True
    if isinstance(read, bool):
        return read is row.default
    return read == row.default or read in row.off


def has_no_effect(row: Later, values: Mapping[str, object]) -> bool:
    """Whether leaving the option out of these values changes nothing."""
    if row.name not in values or _says_off(row, values[row.name]):
        return True
    master = LATER.get(row.master) if row.master else None
    return master is not None and has_no_effect(master, values)
