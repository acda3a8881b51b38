"""A job as a TOML file for sd-scripts: what it knows, and in words what it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sd_scripts.options.explain import shown
from sd_scripts.options.jobs import Job
from sd_scripts.options.key_values import split_pair
from sd_scripts.options.schema import OptionSpec, option_specs, specs_by_name
from sd_scripts.options.sd_scripts_table import NETWORK_ARGUMENTS, SCRIPTS_OF, SCRIPTS_OF_JOB
from sd_scripts.options.toml_file import values_to_toml
from sd_scripts.options.values import values_of
from sd_scripts.options.words import default_words

_ONLY_SDXL_SCRIPTS: Final = frozenset("XS")
_MEANS: Final = {
    "cache_dir": "sd-scripts keeps its caches beside the pictures",
    "bad_images": "sd-scripts stops at a picture that it cannot read",
    "picture_decisions": "sd-scripts uses all pictures, and all of each",
    "masked_loss_mean": "sd-scripts averages over the whole picture: a small mask, a small loss",
    "kohya_crop_conditioning": "sd-scripts always uses its own crop values",
    "quantize_base": "the model takes its full memory; fp8_base stores it in 8 bits there too",
}
"""What it means that sd-scripts goes without one of our options, where more is to be said than that
it trains as with the default."""


@dataclass(frozen=True)
class SdScriptsFile:
    """A file for sd-scripts.

    `text` is the TOML; read back by this program, it gives the same job but for `left_out`:
    options that sd-scripts does not have, with what that means. `notes` tell of options in the
    file that sd-scripts takes otherwise, or that it needs and the job leaves to the program.
    """

    text: str
    left_out: Mapping[str, str]
    notes: Mapping[str, str]


def job_for_sd_scripts(job: Job) -> SdScriptsFile:
    """Write a job down for sd-scripts. Every option it knows is written, defaults too, since its
    own are not everywhere the same."""
    job_type = type(job)
    known = set(SCRIPTS_OF_JOB.get(job_type.name, ""))
    specs = specs_by_name(job_type)
    left_out: dict[str, str] = {}
    values: dict[str, object] = {}
    module = str(values_of(job).get("network_module", ""))
    arguments = NETWORK_ARGUMENTS.get(module, ())
    for name, value in values_of(job).items():
        spec = specs[name]
        if value is None or value == ():
            continue
        if spec.carrier == "network_args":
            fits = name in arguments
        else:
            fits = bool(known & set(SCRIPTS_OF.get(name, "")))
        if fits:
            values[name] = value
        elif value != spec.default:
            left_out[name] = _meaning(spec, value)
    if isinstance(pairs := values.get("network_args"), tuple):
        values["network_args"], foreign = _split_arguments(pairs, arguments)
        words = f"{module} of sd-scripts has no such argument (in network_args)"
        left_out |= dict.fromkeys(foreign, words)
    notes = dict(_notes(job_type, values))
    return SdScriptsFile(values_to_toml(job_type, values), left_out, notes)


def _meaning(spec: OptionSpec, value: object) -> str:
    means = _MEANS.get(spec.name, f"it trains without ({default_words(spec)})")
    return f"{shown(value)}; sd-scripts has no such option for this: {means}"


def _split_arguments(
    pairs: tuple[str, ...], known: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    fitting = tuple(pair for pair in pairs if split_pair(pair)[0] in known)
    return fitting, tuple(pair for pair in pairs if pair not in fitting)


def _notes(job_type: type[Job], values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    own = {spec.name for spec in option_specs(job_type)}
    for name in ("v2", "v_parameterization"):
        if name in own and name not in values:
            yield name, "empty: sd-scripts does not see it from the model, so set it where it is so"
    if "resolution" in own and not {"resolution", "dataset_config"} & values.keys():
        yield "resolution", "empty: sd-scripts does not choose one by itself, so set it"
    if "sdpa" in own and not values.get("sdpa") and not values.get("xformers"):
        yield "sdpa", "off: without sdpa or xformers, attention of sd-scripts is slow"
    rates = values.get("text_encoder_lr")
    if isinstance(rates, tuple) and len(set(rates)) > 1:
        yield "text_encoder_lr", "sd-scripts uses the first rate for both text encoders"
    only_sdxl = [
        name
        for name, value in values.items()
        if value is not False and name in SCRIPTS_OF and set(SCRIPTS_OF[name]) <= _ONLY_SDXL_SCRIPTS
    ]
    for name in only_sdxl:
        yield name, "only the SDXL scripts of sd-scripts know it"
