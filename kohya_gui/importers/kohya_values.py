"""Keys of a kohya_ss file that only mean something together: rates, length, noise and others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from kohya_gui.importers.extra_arguments import KEY as EXTRA_KEY
from kohya_gui.importers.extra_arguments import read_extra
from kohya_gui.importers.kohya_keys import MULTIRES_NOISE, ORIGINAL_NOISE
from kohya_gui.importers.report import Fate, Sorting
from kohya_gui.importers.settling import Entry, as_number, said
from sd_scripts.options.coerce import read_bool
from sd_scripts.options.explain import shown
from sd_scripts.options.schema import OptionSpec

Settings = Mapping[str, object]
_PROMPT_FILES: Final = (".txt", ".toml", ".json")
_DATASET_FILE: Final = "the dataset file (dataset_config) takes its place"


def is_off(value: object) -> bool:
    """Whether a saved value says nothing: empty, no, or 0 in any type."""
    value = said(value)
    return value is None or as_number(value) == 0


def prompt_file(text: str) -> bool:
    """Whether a text names a file of prompts rather than being one."""
    return "\n" not in text and PurePosixPath(text).suffix.lower() in _PROMPT_FILES


def prompts_of(settings: Settings) -> str:
    """Preview prompts that stand in the file itself."""
    text = said(settings.get("sample_prompts"))
    if not isinstance(text, str) or text.lower() == "false" or prompt_file(text):
        return ""
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def extra_entries(
    settings: Settings, sorting: Sorting, specs: Mapping[str, OptionSpec]
) -> list[Entry]:
    """The options among the additional parameters, which win over all others, as on a command
    line."""
    if EXTRA_KEY not in settings:
        return []
    text = said(settings[EXTRA_KEY])
    if not isinstance(text, str) or text.lower() == "false":
        empty = is_off(text)
        sorting.put(EXTRA_KEY, "mapped" if empty else "ignored", "empty" if empty else "not a text")
        return []
    entries, strays = read_extra(text, specs)
    for word in strays:
        sorting.put(EXTRA_KEY, "ignored", f"{shown(word)} belongs to no option")
    return entries


def worked_out(settings: Settings, sorting: Sorting, job: str, *, sdxl: bool) -> list[Entry]:
    """Everything that has to be worked out for a job of that name; each of these keys that is given
    is told or made an entry."""
    return _Working(settings, sorting).entries(job, sdxl=sdxl)


class _Working:
    def __init__(self, settings: Settings, sorting: Sorting) -> None:
        self._settings = settings
        self._sorting = sorting
        self._found: list[Entry] = []

    def entries(self, job: str, *, sdxl: bool) -> list[Entry]:
        is_network = job == "train_network"
        self._pictures()
        self._model()
        self._length()
        self._warmup()
        self._attention()
        self._noise()
        self._tracker_and_optimizer()
        self._compiling()
        self._previews()
        self._templates()
        if is_network:
            self._network_rates()
        else:
            self._plain("text_encoder_lr", "unet_lr")
        self._text_rates(job, sdxl=sdxl)
        self._stopping(is_network=is_network)
        return self._found

    # ---- small tools ----
    def _value(self, key: str) -> object | None:
        return said(self._settings.get(key))

    def _number(self, key: str) -> object | None:
        """A number of the file; 0 for an empty text, None if the key is not there or null."""
        value = self._settings.get(key)
        if value is None:
            return None
        return 0 if said(value) is None else as_number(said(value))

    def _put(self, key: str, fate: Fate, words: str) -> None:
        if key in self._settings:
            self._sorting.put(key, fate, words)

    def _unused(self, key: str, words: str) -> None:
        if is_off(self._settings.get(key)):
            self._put(key, "mapped", "off, or the default")
        else:
            self._put(key, "ignored", words)

    def _entry(self, key: str, option: str, value: object, note: str = "") -> None:
        if key in self._settings:
            self._found.append(Entry(key, option, value, note))

    def _plain(self, *keys: str) -> None:
        for key in keys:
            self._entry(key, key, self._settings.get(key))

    # ---- pictures and model ----
    def _pictures(self) -> None:
        names = ("caption_metadata_filename", "latent_metadata_filename")
        folders = ("train_data_dir", "image_folder")
        if self._value("dataset_config") is not None:
            for key in (*folders, "reg_data_dir", "train_dir", "use_latent_files", *names):
                self._unused(key, _DATASET_FILE)
            return
        for key in folders:
            self._entry(key, "train_data_dir", self._settings.get(key))
        with_latents = str(self._value("use_latent_files")).lower() == "yes"
        used = names[1] if with_latents else names[0]
        self._put("use_latent_files", "mapped", f"chooses {used}")
        self._unused(names[0] if with_latents else names[1], f"{used} is the one that was used")
        name = self._value(used)
        if name is None or is_off(name):
            self._put(used, "mapped", "empty")
            self._unused("train_dir", "only the place of the metadata file, which has no name here")
            return
        folder = self._value("train_dir")
        path = f"{str(folder).rstrip('/')}/{name}" if folder is not None else str(name)
        self._entry(used, "in_json", path)
        self._put("train_dir", "mapped", f"the folder of {used}")

    def _model(self) -> None:
        for key in ("v2", "v_parameterization"):
            value = self._value(key)
            if value is None or read_bool(as_number(value)) is False:
                self._put(key, "mapped", "off: what the model is, is seen from its file")
            else:
                self._entry(key, key, value)
        form = str(self._value("save_model_as") or "").lower()
        if form.startswith("same"):
            self._put("save_model_as", "mapped", "empty: the default stays")
        else:
            self._plain("save_model_as")

    # ---- length and course ----
    def _length(self) -> None:
        steps, epochs = self._number("max_train_steps"), self._number("max_train_epochs")
        if not steps:
            self._put("max_train_steps", "mapped", "0 or empty: the epochs tell the length")
        else:
            self._plain("max_train_steps")
        for key, value in (("max_train_epochs", epochs), ("max_train_steps", steps)):
            if value:
                self._unused("epoch", f"{key} decides")
                return
        if not self._number("epoch"):
            self._put("epoch", "mapped", "0 or empty")
            return
        self._entry(
            "epoch",
            "max_train_epochs",
            self._settings.get("epoch"),
            "kohya_ss worked out a number of steps from the folders instead, which can differ by "
            "a few",
        )

    def _warmup(self) -> None:
        if self._number("lr_warmup_steps"):
            self._plain("lr_warmup_steps")
            self._unused("lr_warmup", "lr_warmup_steps is given as well, and goes first")
            return
        self._put("lr_warmup_steps", "mapped", "0 or empty")
        percent = self._number("lr_warmup")
        if not percent:
            self._put("lr_warmup", "mapped", "0 or empty")
        elif isinstance(percent, int | float) and not isinstance(percent, bool):
            if percent < 100:
                self._entry("lr_warmup", "lr_warmup_steps", percent / 100)
            else:
                self._put("lr_warmup", "ignored", "a warm-up cannot take all steps or more")
        else:
            self._entry("lr_warmup", "lr_warmup_steps", percent)

    def _network_rates(self) -> None:
        """A rate of 0 for one part means that only the other is trained; of 0 for both, that
        learning_rate is meant for both."""
        text, unet = self._rate("text_encoder_lr"), self._rate("unet_lr")
        if text == 0 and unet == 0:
            for key in ("text_encoder_lr", "unet_lr"):
                self._put(key, "mapped", "0 for both parts: learning_rate is used for both")
            return
        if text == 0 and unet is not None:
            self._entry("text_encoder_lr", "network_train_unet_only", True)
        else:
            self._plain("text_encoder_lr")
        if unet == 0 and text is not None:
            self._entry("unet_lr", "network_train_text_encoder_only", True)
        else:
            self._plain("unet_lr")

    def _rate(self, key: str) -> object | None:
        value = self._settings.get(key)
        if isinstance(value, list | tuple) and value and all(is_off(one) for one in value):
            return 0
        return self._number(key)

    def _text_rates(self, job: str, *, sdxl: bool) -> None:
        """Rates of the text encoders of a whole model: SDXL has two of its own."""
        two = ("learning_rate_te1", "learning_rate_te2")
        if not sdxl:
            self._plain("learning_rate_te")
            for key in two:
                self._unused(key, "only for SDXL")
            return
        self._unused("learning_rate_te", "SDXL has learning_rate_te1 and learning_rate_te2")
        given = [key for key in two if key in self._settings]
        if job == "train_db" and given and all(is_off(self._settings[key]) for key in given):
            for key in given:  # kohya_ss then leaves the text encoders as they are
                self._found.append(Entry(key, key, 0, zero_counts=True))
        else:
            self._plain(*two)

    def _stopping(self, *, is_network: bool) -> None:
        """The percentage of all steps after which the text encoder stops learning."""
        keys = ("stop_text_encoder_training", "stop_text_encoder_training_pct")
        for key in keys:
            if is_network:
                self._unused(key, "kohya_ss does not use it for a LoRA either")
        if is_network:
            return
        main = keys[0] if not is_off(self._settings.get(keys[0])) else keys[1]
        for key in keys:
            if key != main:
                self._unused(key, f"{main} is given as well")
        percent, steps = self._number(main), self._number("max_train_steps")
        if not percent:
            self._put(main, "mapped", "0 or empty: the text encoder learns to the end")
        elif percent == -1:
            self._entry(main, keys[0], -1)
        elif isinstance(percent, int | float) and isinstance(steps, int | float) and steps > 0:
            share = percent * steps / 100
            last = math.ceil(share) if math.isfinite(share) else share
            self._entry(main, keys[0], last, f"{shown(percent)} % of {shown(steps)} steps")
        else:
            self._put(
                main,
                "ignored",
                "a percentage of a number of steps that the file does not tell: set "
                "stop_text_encoder_training to a step",
            )

    # ---- how it is computed ----
    def _attention(self) -> None:
        value = self._value("xformers")
        word = str(value).lower()
        if value is None or read_bool(as_number(value)) is False:
            self._put("xformers", "mapped", "off")
        elif word == "xformers" or read_bool(as_number(value)) is True:
            self._entry("xformers", "xformers", True)
        elif word == "sdpa":
            self._entry("xformers", "sdpa", True)
        else:
            self._put("xformers", "ignored", f"{shown(value)} is no kind of attention")

    def _noise(self) -> None:
        pyramid = str(self._value("noise_offset_type") or "").lower().startswith("multires")
        chosen, other = (
            (MULTIRES_NOISE, ORIGINAL_NOISE) if pyramid else (ORIGINAL_NOISE, MULTIRES_NOISE)
        )
        self._put("noise_offset_type", "mapped", f"chooses {chosen[0]} over {other[0]}")
        for key in other:
            self._unused(key, f"noise_offset_type chooses {chosen[0]}")
        first, *rest = chosen
        self._plain(first)
        for key in rest:
            if is_off(self._settings.get(first)):
                self._unused(key, f"{first} is off")
            else:
                self._plain(key)

    def _compiling(self) -> None:
        backend = self._value("dynamo_backend")
        if backend is None or is_off(backend) or str(backend).lower() == "no":
            self._put("dynamo_backend", "mapped", "off")
            self._unused("dynamo_mode", "dynamo_backend is off")
            return
        self._entry("dynamo_backend", "torch_compile", True)
        self._entry("dynamo_backend", "dynamo_backend", backend)
        self._plain("dynamo_mode")

    def _tracker_and_optimizer(self) -> None:
        if is_off(self._settings.get("use_wandb")):
            self._put("use_wandb", "mapped", "off")
        elif is_off(self._settings.get("log_with")):
            self._entry("use_wandb", "log_with", "wandb")
        else:
            self._put("use_wandb", "ignored", "log_with is given as well, and goes first")
        if is_off(self._settings.get("optimizer")):
            self._entry("use_8bit_adam", "use_8bit_adam", self._settings.get("use_8bit_adam"))
        else:
            self._unused("use_8bit_adam", "optimizer is given as well, and goes first")

    def _previews(self) -> None:
        value = self._value("sample_prompts")
        if prompts_of(self._settings):
            self._put(
                "sample_prompts", "changed", "the prompts themselves; they are put into a file"
            )
        elif isinstance(value, str):
            self._entry("sample_prompts", "sample_prompts", value)
        elif is_off(value):
            self._put("sample_prompts", "mapped", "empty")
        else:
            self._put("sample_prompts", "ignored", f"{shown(value)} is not a text")

    def _templates(self) -> None:
        word = str(self._value("template") or "caption").lower()
        if word.startswith("object"):
            self._entry("template", "use_object_template", True)
        elif word.startswith("style"):
            self._entry("template", "use_style_template", True)
        elif word.startswith("caption") or is_off(word):
            self._put("template", "mapped", "captions, as usual")
        else:
            self._put("template", "ignored", f"{shown(word)} is no kind of template")
        if is_off(self._settings.get("train_inpainting")):
            self._put("train_inpainting", "mapped", "off")
        else:
            self._put("train_inpainting", "ignored", "inpainting models are not trained here")
