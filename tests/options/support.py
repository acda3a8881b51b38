"""Jobs of any kind for property tests: values drawn from the specs, made to agree by the rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.optimizer_table import OPTIMIZERS, Argument
from sd_scripts.options.schema import OptionSpec, option_specs, specs_by_name
from sd_scripts.options.types import UnfitError, clean_path
from sd_scripts.options.values import check_values, job_from_values

NEEDED: dict[str, object] = {
    "pretrained_model_name_or_path": "model.safetensors",
    "train_data_dir": "pictures",
}
SPECS = specs_by_name(TrainNetworkJob)

_letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_texts = st.one_of(
    st.sampled_from(
        [
            "none",
            "C:\\temp\\ä b",
            "--odd",
            "-1",
            "a=b",
            "'single' \"double\"",
            " blank ",
            "café ☃",
            "0",
        ]
    ),
    st.text(_letters, min_size=1, max_size=12),
)
_plain = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)


def job(**values: object) -> TrainNetworkJob:
    """A job of these values and what every job needs."""
    return job_from_values(TrainNetworkJob, {**NEEDED, **values})


def problems(**values: object) -> list[Problem]:
    """What is wrong with these values beside what every job needs."""
    return check_values(TrainNetworkJob, {**NEEDED, **values})


def errors(**values: object) -> list[Problem]:
    """The errors among `problems`."""
    return errors_among(problems(**values))


def only_error(**values: object) -> Problem:
    """The one error that these values have."""
    (found,) = errors(**values)
    return found


def problems_of(error: UserError) -> dict[str | None, Problem]:
    """Problems of an error by the option they name."""
    return {problem.option: problem for problem in error.problems}


def _numbers(spec: OptionSpec) -> st.SearchStrategy[Any]:
    low = None if spec.minimum is None else spec.minimum
    high = 10**6 if spec.maximum is None else spec.maximum
    if spec.kind == "int":
        return st.integers(int(low or 0), int(high))
    return st.floats(
        low,
        high,
        exclude_min=spec.exclusive_minimum,
        exclude_max=spec.exclusive_maximum,
        allow_nan=False,
    )


def _path(text: str) -> str:
    """Return a text as an option for paths keeps it; "" if it is none (the home of nobody)."""
    try:
        return str(clean_path(text))
    except UnfitError:
        return ""


def _text(spec: OptionSpec) -> st.SearchStrategy[str]:
    if spec.name in ("output_name", "token_string", "preset"):
        return _plain.filter(lambda text: text.casefold() != "none")  # the word for "off"
    if spec.name == "caption_extension":
        return _plain.map(lambda text: f".{text}")
    if spec.name == "face_crop_aug_range":
        return st.sampled_from(["2.0,4.0", "1.5,1.5"])
    if spec.path:
        return _texts.map(_path).filter(bool)
    return _texts


def values_for(spec: OptionSpec) -> st.SearchStrategy[Any]:
    """Values that an option takes by itself, as it keeps them."""
    by_kind: dict[str, st.SearchStrategy[Any]] = {
        "bool": st.booleans(),
        "int": _numbers(spec) if spec.kind == "int" else st.nothing(),
        "float": _numbers(spec) if spec.kind == "float" else st.nothing(),
        "text": _text(spec),
        "choice": st.sampled_from(spec.choices or ("",)),
        "size": st.tuples(*[st.integers(8, 128).map(lambda side: side * 8)] * 2),
        "steps": st.one_of(st.integers(0, 10**6), st.floats(0.001, 0.999)),
        "numbers": st.lists(st.floats(0, 10), min_size=1, max_size=2).map(tuple),
        "texts": st.lists(_plain, max_size=3).map(tuple),
        "key_values": st.just(()),
    }
    return by_kind[spec.kind]


def _argument_text(argument: Argument) -> st.SearchStrategy[str]:
    numbers = st.floats(1e-6, 1, allow_nan=False)
    by_kind: dict[str, st.SearchStrategy[str]] = {
        "float": numbers.map(str),
        "int": st.integers(1, 9999).map(str),
        "bool": st.booleans().map(str),
        "floats": st.lists(numbers, min_size=argument.length or 2, max_size=argument.length).map(
            lambda found: ",".join(map(str, found))
        ),
        "ints": st.just("5,10"),
        "text": _plain,
    }
    return by_kind[argument.kind].map(lambda text: f"{argument.name}={text}")


_LOKR: dict[str, object] = {"network_module": "lycoris.kohya", "algo": "lokr"}
COMPANIONS: dict[str, dict[str, object]] = {
    "network_dim": _LOKR,
    "conv_dim": _LOKR,
    "num_vectors_per_token": {"token_string": "mycat7", "max_token_length": 225},
    "init_word": {"token_string": "mycat7"},
    "weights": {"token_string": "mycat7"},
    "use_object_template": {"token_string": "mycat7"},
    "use_style_template": {"token_string": "mycat7"},
    "embedding_lr": {"token_string": "mycat7", "weights": "word.safetensors"},
    "dataset_config": {"train_data_dir": None, "in_json": None},
    "full_fp16": {"mixed_precision": "fp16"},
    "full_bf16": {"mixed_precision": "bf16"},
    "bucket_reso_steps": {"bucket_reso_steps": 32},
    "cache_text_encoder_outputs": {"network_train_unet_only": True},
    "cache_text_encoder_outputs_to_disk": {"network_train_unet_only": True},
    "dim_from_weights": {"network_weights": "old.safetensors"},
    "learning_rate": {"unet_lr": 1e-4},
    "unet_lr": {"text_encoder_lr": (1e-5,)},
    "lr_warmup_steps": {"lr_scheduler": "cosine"},
    "lr_scheduler_args": {
        "lr_scheduler": "piecewise_constant",
        "lr_scheduler_args": ("step_rules=1:10,0.1:20,0.01",),
    },
    "save_last_n_epochs": {"save_every_n_epochs": 2},
    "save_last_n_epochs_state": {"save_n_epoch_ratio": 2},
    "save_last_n_steps": {"save_every_n_steps": 2},
    "save_last_n_steps_state": {"save_every_n_steps": 2},
    "log_with": {"logging_dir": "logs"},
    "adaptive_noise_scale": {"noise_offset": 0.1},
    "masked_loss": {"alpha_mask": True},
}
"""What an option needs beside it."""

CHOICE_COMPANIONS: dict[str, dict[str, object]] = {
    "adafactor": {"optimizer_type": "Adafactor"},
    "cosine_with_min_lr": {"lr_scheduler_min_lr_ratio": 0.1},
    "piecewise_constant": COMPANIONS["lr_scheduler_args"],
    "ConstantLR": {"lr_scheduler_args": ("total_iters=5",)},
    "CosineAnnealingWarmRestarts": {"lr_scheduler_args": ("T_0=5",)},
    "ExponentialLR": {"lr_scheduler_args": ("gamma=0.9",)},
    "MultiStepLR": {"lr_scheduler_args": ("milestones=[5,10]",)},
    "StepLR": {"lr_scheduler_args": ("step_size=5",)},
}
"""What a choice needs beside it."""


def mended(values: dict[str, object], kept: dict[str, object]) -> TrainNetworkJob:
    """A job of `kept` and as many of the other values as agree with it."""
    values = {**NEEDED, **values, **kept}
    for _ in range(20):
        wrong = errors_among(check_values(TrainNetworkJob, values))
        if not wrong:
            return job_from_values(TrainNetworkJob, values)
        named = {name for problem in wrong for name in (problem.option or "").split(", ")}
        named |= {f"{name}_to_disk" for name in named}
        doubtful = named & set(values) - set(kept) - set(NEEDED)
        assert doubtful, wrong
        values = {name: value for name, value in values.items() if name not in doubtful}
    raise AssertionError(f"cannot be mended: {wrong}")


@st.composite
def kept_values(draw: st.DrawFn, spec: OptionSpec) -> dict[str, object]:
    """A value of one option, and what it needs beside it."""
    value = draw(values_for(spec))
    chosen = isinstance(value, str) and spec.kind != "text"  # a title may be called "StepLR"
    beside = CHOICE_COMPANIONS.get(value, {}) if chosen else {}
    return {spec.name: value, **COMPANIONS.get(spec.name, {}), **beside}


@st.composite
def jobs(draw: st.DrawFn) -> TrainNetworkJob:
    """Jobs without errors: any options set, those that contradict each other taken back."""
    values: dict[str, object] = {}
    specs = option_specs(TrainNetworkJob)
    for spec in specs:
        if draw(st.booleans()):
            values[spec.name] = draw(values_for(spec))
    name = draw(st.sampled_from(sorted(OPTIMIZERS)))
    arguments = draw(st.lists(st.sampled_from(OPTIMIZERS[name].arguments), max_size=3, unique=True))
    values["optimizer_type"] = name
    values["optimizer_args"] = tuple(draw(_argument_text(argument)) for argument in arguments)
    return mended(values, draw(kept_values(draw(st.sampled_from(specs)))))
