"""What a model file or folder is, from names and shapes alone: nothing is loaded or executed."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sd_scripts.errors import Problem, UserError
from sd_scripts.families.prediction import (
    PREDICTION_WORDS,
    Prediction,
    file_prediction,
    folder_prediction,
)
from sd_scripts.families.recognise import (
    FAMILY_OF_CONTEXT,
    FAMILY_TITLES,
    ModelKind,
    recognise,
    unet_input_words,
)
from sd_scripts.weights.checkpoint_keys import UNET_PREFIX, VAE_PREFIX
from sd_scripts.weights.folders import part_weights, read_json
from sd_scripts.weights.headers import DTYPE_WORDS, read_header, refuse_code
from sd_scripts.weights.model_kinds import FamilyName, PredictionType

__all__ = (
    "OPTION",
    "FamilyName",
    "ModelInfo",
    "ModelKind",
    "PredictionType",
    "ResolvedModel",
    "inspect_model",
    "resolve_model",
)

OPTION: Final = "pretrained_model_name_or_path"


@dataclass(frozen=True)
class ModelInfo:
    """What was found out about a model.

    `prediction_certain` tells a fact (marker tensors, metadata, a scheduler's configuration) from
    a guess; `prediction_source` says where it comes from. `text` describes it to a person.
    `unsupported` is set when the model was recognised, but is none that can be trained on.
    """

    kind: ModelKind
    family: FamilyName | None
    prediction_type: PredictionType | None
    prediction_certain: bool
    zero_terminal_snr: bool
    path: Path
    num_parameters: int
    dtype: str | None
    title: str
    text: str
    prediction_source: str = ""
    has_vae: bool = False
    unsupported: Problem | None = None


@dataclass(frozen=True)
class ResolvedModel:
    """What a job takes the model for, after options and facts have met."""

    family: FamilyName
    prediction_type: PredictionType
    zero_terminal_snr: bool


def inspect_model(path: str | os.PathLike[str], option: str = OPTION) -> ModelInfo:
    """Say what the file or folder at `path` is, without loading it.

    Raises `UserError`, naming `option`, if there is nothing, or it cannot be read, is damaged, or
    is a pickle that asks for code to be run.
    """
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            return _inspect_folder(place, option)
        if place.is_file():
            return _inspect_file(place, option)
    except OSError as error:
        raise UserError(
            f"{place} cannot be read: {error.strerror or error}",
            option=option,
            hint="check that you may read it",
        ) from error
    raise _missing(place, str(path), option)


def _missing(place: Path, given: str, option: str) -> UserError:
    if not given.strip():
        return UserError("no model is chosen", option=option, hint="choose a file or a folder")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", given) and not place.parent.exists():
        return UserError(
            f"{given} is neither a file nor a folder here; models are not fetched from a hub",
            option=option,
            hint="download the model, then give the path of its file or folder",
        )
    hint = "check the path"
    if place.parent.is_dir():
        names = [entry.name for entry in place.parent.iterdir()]
        if close := difflib.get_close_matches(place.name, names, n=1):
            hint = f"did you mean {place.parent / close[0]}?"
    return UserError(f"there is no {place}", option=option, hint=hint)


def _inspect_file(path: Path, option: str) -> ModelInfo:
    header = read_header(path, option)
    found = recognise(header.tensors)
    if found.kind != "embedding":
        refuse_code(path, header, option)
    prediction = None
    if found.kind == "checkpoint" and found.family is not None:
        prediction = file_prediction(path, header, found.family)
    counted = [info for name, info in header.tensors.items() if not name.startswith("model_ema.")]
    first = [info for name, info in header.tensors.items() if name.startswith(UNET_PREFIX)]
    unsupported = None
    if found.unsupported:
        unsupported = _cannot_train(path, found.what, option)
    return _model_info(
        _Facts(
            kind=found.kind,
            family=found.family,
            what=found.what,
            path=path,
            num_parameters=sum(info.num_elements for info in counted),
            dtype=DTYPE_WORDS.get((first or counted)[0].dtype) if counted else None,
            title=header.metadata.get("modelspec.title") or path.stem,
            has_vae=any(name.startswith(VAE_PREFIX) for name in header.tensors),
        ),
        prediction,
        unsupported,
    )


def _cannot_train(path: Path, what: str, option: str) -> Problem:
    return Problem(
        f"{path.name} is {what}: it cannot be trained on here",
        option,
        "choose an SD 1.x, SD 2.x or SDXL text-to-image checkpoint or diffusers folder",
    )


@dataclass(frozen=True)
class _Facts:
    kind: ModelKind
    family: FamilyName | None
    what: str
    path: Path
    num_parameters: int
    dtype: str | None
    title: str
    has_vae: bool


def _model_info(
    facts: _Facts, prediction: Prediction | None, unsupported: Problem | None
) -> ModelInfo:
    size = f"{facts.num_parameters / 1e9:.2f} billion parameters"
    if facts.num_parameters < 1e8:
        size = f"{facts.num_parameters / 1e6:.1f} million parameters"
    text = f"{facts.what[:1].upper()}{facts.what[1:]}, {size}"
    if facts.dtype:
        text += f" in {facts.dtype}"
    if prediction is not None:
        sure = "" if prediction.certain else "taken for "
        text += f"; {sure}{PREDICTION_WORDS[prediction.type]}: {prediction.source}"
    return ModelInfo(
        kind=facts.kind,
        family=facts.family,
        prediction_type=prediction.type if prediction else None,
        prediction_certain=bool(prediction and prediction.certain),
        zero_terminal_snr=bool(prediction and prediction.zero_terminal_snr),
        path=facts.path,
        num_parameters=facts.num_parameters,
        dtype=facts.dtype,
        title=facts.title,
        text=text,
        prediction_source=prediction.source if prediction else "",
        has_vae=facts.has_vae,
        unsupported=unsupported,
    )


def _inspect_folder(path: Path, option: str) -> ModelInfo:
    if not (path / "model_index.json").is_file():
        return _inspect_bare_folder(path, option)
    index = read_json(path / "model_index.json", option)
    if not (path / "unet").is_dir():
        pipeline = str(index.get("_class_name", "unknown"))
        what = f"a diffusers folder without a U-Net (its pipeline is {pipeline})"
        return _folder_info(path, None, what, _cannot_train(path, what, option))
    unet = read_json(path / "unet" / "config.json", option)
    family, unsupported_what = _folder_family(index, unet)
    what = unsupported_what or f"{FAMILY_TITLES[family or 'sd1']}, a diffusers folder"
    unsupported = _cannot_train(path, what, option) if unsupported_what else None
    return _folder_info(path, family, what, unsupported, option)


def _inspect_bare_folder(path: Path, option: str) -> ModelInfo:
    """Handle a folder that is no pipeline: a VAE's own folder, or a wrong choice."""
    if (path / "config.json").is_file():
        name = str(read_json(path / "config.json", option).get("_class_name", ""))
        if name == "AutoencoderKL":
            facts = _Facts("vae", None, "a VAE", path, *_counted(path, option), path.name, True)
            return _model_info(facts, None, None)
    inside = sorted(
        entry.name for entry in path.iterdir() if entry.suffix in (".safetensors", ".ckpt")
    )
    hint = "choose the folder that holds model_index.json, or a single .safetensors file"
    if inside:
        hint = f"choose the file itself, for example {path / inside[0]}"
    raise UserError(
        f"{path} is no diffusers model: it has no model_index.json", option=option, hint=hint
    )


def _folder_family(
    index: Mapping[str, Any], unet: Mapping[str, Any]
) -> tuple[FamilyName | None, str | None]:
    channels = unet.get("in_channels", 4)
    text_encoder = (index.get("text_encoder") or [None])[0]
    if unet.get("addition_embed_type") == "text_time":
        if text_encoder is None:
            return None, "the SDXL refiner"
        family: FamilyName = "sdxl"
    else:
        known = FAMILY_OF_CONTEXT.get(unet.get("cross_attention_dim") or 0)
        linear = bool(unet.get("use_linear_projection"))
        family = known if known in ("sd1", "sd2") else ("sd2" if linear else "sd1")
    if channels != 4:
        return family, unet_input_words(channels)
    if text_encoder is None:
        return family, "a U-Net without its text encoder"
    return family, None


def _counted(folder: Path, option: str) -> tuple[int, str | None]:
    """Return a part's number of parameters and its dtype, from its weights' headers."""
    headers = [read_header(file, option) for file in part_weights(folder, _stem(folder), option)]
    for header in headers:
        refuse_code(folder, header, option)
    tensors = [info for header in headers for info in header.tensors.values()]
    dtype = DTYPE_WORDS.get(tensors[0].dtype) if tensors else None
    return sum(info.num_elements for info in tensors), dtype


def _stem(folder: Path) -> str:
    return "model" if folder.name.startswith("text_encoder") else "diffusion_pytorch_model"


def _folder_info(
    path: Path,
    family: FamilyName | None,
    what: str,
    unsupported: Problem | None,
    option: str = OPTION,
) -> ModelInfo:
    num_parameters, dtype, prediction = 0, None, None
    if unsupported is None and family is not None:
        names = ("text_encoder", "text_encoder_2") if family == "sdxl" else ("text_encoder",)
        num_parameters, dtype = _counted(path / "unet", option)
        num_parameters += sum(_counted(path / name, option)[0] for name in names)
        if (path / "vae").is_dir():
            num_parameters += _counted(path / "vae", option)[0]
        prediction = folder_prediction(path, family, option)
    facts = _Facts(
        kind="diffusers",
        family=family,
        what=what,
        path=path,
        num_parameters=num_parameters,
        dtype=dtype,
        title=path.name,
        has_vae=(path / "vae").is_dir(),
    )
    return _model_info(facts, prediction, unsupported)


def _not_a_model(info: ModelInfo, option: str) -> Problem:
    remedies = {
        "lora": "choose the base model here; to go on training a LoRA, name it in network_weights",
        "vae": "choose the base model here; name the VAE in the option vae",
        "embedding": "choose the base model here, not an embedding",
    }
    sentence = info.text.rstrip(".")
    return Problem(
        f"{info.path.name} is not a base model: {sentence[:1].lower()}{sentence[1:]}",
        option,
        remedies.get(info.kind, "choose an SD 1.x, SD 2.x or SDXL checkpoint"),
    )


def resolve_model(
    info: ModelInfo,
    v2: bool | None = None,
    v_parameterization: bool | None = None,
    option: str = OPTION,
) -> tuple[ResolvedModel | None, tuple[Problem, ...]]:
    """Let options and what was detected meet: an option wins over a guess, not over a fact.

    Returns what the job takes the model for (None if it is no base model that can be trained) and
    the problems: errors then, and a warning wherever an option and the model disagree.
    """
    if info.unsupported is not None:
        return None, (info.unsupported,)
    if info.kind not in ("checkpoint", "diffusers") or info.family is None:
        return None, (_not_a_model(info, option),)
    problems = []
    if v2 is not None and v2 != (info.family == "sd2"):
        problems.append(
            Problem(
                f"v2 is {str(v2).lower()}, but {info.path.name} is of the family "
                f"{FAMILY_TITLES[info.family]}; it is trained as what it is",
                f"v2, {option}",
                "leave v2 out: the family is read from the model",
                "warning",
            )
        )
    prediction, warning = _resolve_prediction(info, v_parameterization, option)
    if warning is not None:
        problems.append(warning)
    resolved = ResolvedModel(info.family, prediction, info.zero_terminal_snr)
    return resolved, tuple(problems)


def _resolve_prediction(
    info: ModelInfo, v_parameterization: bool | None, option: str
) -> tuple[PredictionType, Problem | None]:
    detected = info.prediction_type
    assert detected is not None, "a base model has a prediction type"
    asked: PredictionType | None = None
    if v_parameterization is not None:
        asked = "v_prediction" if v_parameterization else "epsilon"
    both = f"v_parameterization, {option}"
    told = f"v_parameterization is {str(v_parameterization).lower()}"
    if asked is None:
        if info.prediction_certain or info.family != "sd2":
            return detected, None
        return detected, Problem(
            f"{info.path.name} is taken for {PREDICTION_WORDS[detected]}: {info.prediction_source}",
            both,
            "set v_parameterization to true (768-v models) or false (512-base models) to be sure",
            "warning",
        )
    if asked == detected:
        return detected, None
    if info.prediction_certain:
        return detected, Problem(
            f"{told}, but {info.path.name} is trained by {PREDICTION_WORDS[detected]}: "
            f"{info.prediction_source}; it is trained as what it is",
            both,
            "leave v_parameterization out",
            "warning",
        )
    return asked, Problem(
        f"{told}, so {info.path.name} is trained by {PREDICTION_WORDS[asked]}, though it was taken "
        f"for {PREDICTION_WORDS[detected]}: {info.prediction_source}",
        both,
        "leave v_parameterization out if that was not meant",
        "warning",
    )
