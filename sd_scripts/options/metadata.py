"""The ss_* entries of a trained file that are option values and nothing else.

What depends on the model, the pictures or the run (hashes, counts, times, `ss_v2`) is added where
it is known. All values are texts: None is "None", True is "True".
"""

from __future__ import annotations

import json
from typing import Final

from sd_scripts.options.jobs import Job
from sd_scripts.options.key_values import split_pair
from sd_scripts.options.later import LATER
from sd_scripts.options.old_names import carried_options
from sd_scripts.options.schema import option_specs, specs_by_name
from sd_scripts.options.sd_scripts_table import SCRIPTS_OF
from sd_scripts.options.values import values_of

MINIMUM_METADATA: Final = (
    "ss_v2",
    "ss_base_model_version",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_network_args",
)
"""What is written even with `no_metadata`."""

_ONLY_WITHOUT_DATASET_FILE: Final = frozenset(
    {
        "ss_batch_size_per_device",
        "ss_resolution",
        "ss_color_aug",
        "ss_flip_aug",
        "ss_random_crop",
        "ss_shuffle_caption",
        "ss_enable_bucket",
        "ss_bucket_no_upscale",
        "ss_min_bucket_reso",
        "ss_max_bucket_reso",
        "ss_keep_tokens",
    }
)


def _network_arguments(job: Job, values: dict[str, object]) -> dict[str, str]:
    """All of network_args as sd-scripts notes them: with carried options, and dropout."""
    pairs = values["network_args"]
    assert isinstance(pairs, tuple)
    arguments = dict(split_pair(pair) for pair in pairs)
    for name in carried_options(specs_by_name(type(job)))["network_args"]:
        if values[name] is not None:
            arguments[name] = str(values[name])
    return arguments


def metadata_values(job: Job) -> dict[str, str]:
    """Option values under their metadata names, as texts."""
    values = values_of(job)
    found = {row.records: str(row.default) for row in LATER.values() if row.records}
    found["ss_lowram"] = "False"
    for spec in option_specs(type(job)):
        # What sd-scripts does not have is noted where it is used.
        unused = spec.name not in SCRIPTS_OF and values[spec.name] == spec.default
        if spec.records and not unused:
            found[spec.records] = str(values[spec.name])
    rates = values.get("text_encoder_lr")
    if isinstance(rates, tuple):
        found["ss_text_encoder_lr"] = str(rates[0] if len(rates) == 1 else list(rates))
    if "network_args" in values and (arguments := _network_arguments(job, values)):
        noted: dict[str, object] = {"dropout": values["network_dropout"], **arguments}
        found["ss_network_args"] = json.dumps(noted)
    if values.get("dataset_config") is not None:
        found = {
            name: text for name, text in found.items() if name not in _ONLY_WITHOUT_DATASET_FILE
        }
    elif found.get("ss_resolution") == "None":
        del found["ss_resolution"]
    return dict(sorted(found.items()))
