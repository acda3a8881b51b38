"""What must agree between a network, its arguments, the files it takes and the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from sd_scripts.errors import Problem
from sd_scripts.options.block_weights import SD_BLOCKS, SDXL_BLOCKS, parse_course
from sd_scripts.options.explain import did_you_mean
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions
from sd_scripts.options.key_values import parse_value, split_pair
from sd_scripts.options.network_table import NETWORKS, PRESETS, Carried, NetworkEntry
from sd_scripts.options.optimizer_table import OPTIMIZERS, Argument
from sd_scripts.options.rules.rate_rules import argument_problem
from sd_scripts.options.rules.registry import rule

_BOTH: Final = "network_args, network_module"
_BLOCKS: Final = ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
_COURSES: Final = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")
_PLUS: Final = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
_DROPOUTS: Final = ("dropout",)
_DORA_ALGOS: Final = ("lora", "locon", "loha", "lokr")
_ONLY_FOR: Final = {
    "factor": ("lokr",),
    "decompose_both": ("lokr",),
    "full_matrix": ("lokr",),
    "unbalanced_factorization": ("lokr",),
    "use_tucker": ("lora", "locon", "loha", "lokr"),
    "use_scalar": ("lora", "locon", "loha", "lokr", "glora"),
    "rs_lora": ("lora", "locon", "loha", "lokr"),
    "dora_wd": _DORA_ALGOS,
    "block_size": ("dylora",),
    "constraint": ("diag-oft", "boft"),
    "rescaled": ("diag-oft", "boft"),
    **dict.fromkeys(_PLUS, ("lora", "locon")),
}
_LARGEST_RANK: Final = 4096
_NORMS: Final = ("lora", "locon", "loha", "lokr", "glora", "full", "diag-oft", "boft")


@rule("network_args", "network_module")
def known_network_arguments(network: NetworkOptions) -> Iterator[Problem]:
    """Arguments of the network are among those it knows, and of the right type."""
    entry = NETWORKS[network.network_module]
    for name, text in map(split_pair, network.network_args):
        argument = entry.argument(name)
        if argument is None:
            yield _unknown(entry, name)
        elif argument.kind != "text" and (wanted := argument_problem(argument, parse_value(text))):
            yield Problem(f"{name}={text}: {name} must be {wanted}", _BOTH, argument.help)
        elif wrong := _value_problem(argument, text):
            yield wrong


def _unknown(entry: NetworkEntry, name: str) -> Problem:
    known = [*(found.name for found in entry.arguments), *entry.carried]
    others = [other.name for other in NETWORKS.values() if other.argument(name)]
    otherwise = f"{' and '.join(others)} would have it" if others else "take it out"
    return Problem(
        f"{entry.name} has no argument {name}", _BOTH, did_you_mean(name, known, otherwise)
    )


def _value_problem(argument: Argument, text: str) -> Problem | None:
    name = argument.name
    value = parse_value(text)
    wanted = None
    if name in _COURSES:
        wanted = None if _is_course(text, name) else "numbers with commas, or a curve"
    elif name in _BLOCKS and value is not None:
        counts = (SD_BLOCKS.count, SDXL_BLOCKS.count)
        numbers = value if isinstance(value, tuple | list) else (value,)
        if len(numbers) not in counts:
            wanted = "{} numbers, or {} for SDXL".format(*counts)
        elif min(numbers) < 0:
            wanted = "numbers that are not below 0"
    elif name in _DROPOUTS and value is not None:
        wanted = None if _within(value, 0, 1) else "at least 0 and below 1"
    elif name in (*_PLUS, "constraint", "constrain", "block_lr_zero_threshold"):
        wanted = None if value is None or _within(value, 0, 1e6) else "0 or more"
    elif name in ("unit", "block_size"):
        wanted = None if _within(value, 1, 4096) else "1 or more"
    elif name == "factor":
        wanted = None if value == -1 or _within(value, 1, 100_000) else "-1, or 1 or more"
    elif name == "train_t5xxl" and value is True:
        wanted = "False: the models that are trained here have no T5"
    if wanted is None:
        return None
    return Problem(f"{name}={text}: {name} must be {wanted}", "network_args", argument.help)


def _within(value: object, low: float, end: float) -> bool:
    return isinstance(value, int | float) and low <= value < end


def _is_course(text: str, name: str) -> bool:
    most = SD_BLOCKS.mid + 2 if name.startswith("mid") else SD_BLOCKS.down
    try:
        return text.lower() == "none" or min(parse_course(text, most)) >= 0
    except ValueError:
        return False


def _off_by_module(network: NetworkOptions) -> Iterator[Carried]:
    values = {
        "conv_dim": network.conv_dim,
        "conv_alpha": network.conv_alpha,
        "algo": network.algo,
        "preset": network.preset,
        "rank_dropout": network.rank_dropout or None,
        "module_dropout": network.module_dropout or None,
    }
    known = NETWORKS[network.network_module].carried
    return (name for name in get_args(Carried) if values[name] is not None and name not in known)


@rule(
    "network_module",
    "algo",
    "preset",
    "conv_dim",
    "conv_alpha",
    "rank_dropout",
    "module_dropout",
    "network_dropout",
)
def options_of_the_module(network: NetworkOptions) -> Iterator[Problem]:
    """What is set for a network is something it has."""
    module = network.network_module
    for name in _off_by_module(network):
        others = [entry.name for entry in NETWORKS.values() if name in entry.carried]
        yield Problem(
            f"{module} has no {name}, so it has no effect",
            f"{name}, network_module",
            f"empty {name}, or set network_module to {' or '.join(others)}",
            severity="warning",
        )
    if module == "networks.oft" and network.network_dropout:
        yield Problem(
            "networks.oft has no dropout",
            "network_dropout, network_module",
            "empty network_dropout",
        )


@rule("network_module", "network_train_text_encoder_only")
def oft_is_for_the_unet(network: NetworkOptions) -> Iterator[Problem]:
    """OFT has layers in the U-Net only."""
    if network.network_module == "networks.oft" and network.network_train_text_encoder_only:
        yield Problem(
            "networks.oft trains the U-Net only",
            "network_train_text_encoder_only, network_module",
            "switch it off, or choose another network_module",
        )


@rule("network_module", "algo", "preset", "network_args")
def arguments_of_the_algorithm(network: NetworkOptions) -> Iterator[Problem]:
    """LyCORIS' arguments are of use for its algorithm; sd-scripts passes them over in silence."""
    if network.network_module != "lycoris.kohya":
        return
    algo = network.algo or "lora"
    preset = network.preset or "full"
    if preset not in PRESETS and not preset.lower().endswith(".toml"):
        yield Problem(
            f"there is no preset {preset}",
            "preset",
            did_you_mean(preset, PRESETS, f"choose {', '.join(PRESETS)} or a .toml file"),
        )
    for name, text in map(split_pair, network.network_args):
        wanted = _ONLY_FOR.get(name)
        off = parse_value(text) in (None, False, 0)
        # A file may choose other algorithms for some layers.
        if wanted and algo not in wanted and not off and preset in PRESETS:
            yield Problem(
                f"{name} has no effect with algo={algo}",
                "network_args, algo",
                f"take it out; it is for {' and '.join(wanted)}",
                severity="warning",
            )
    if algo == "ia3" and preset == "full":
        yield Problem(
            "ia3 is meant for few layers",
            "algo, preset",
            "set preset to ia3",
            severity="warning",
        )


@rule("network_module", "algo", "network_dim", "network_args", "conv_dim")
def groups_of_ranks(network: NetworkOptions) -> Iterator[Problem]:
    """DyLoRA learns ranks in groups of one size."""
    lycoris = network.network_module == "lycoris.kohya" and network.algo == "dylora"
    if not lycoris and network.network_module != "networks.dylora":
        return
    name = "block_size" if lycoris else "unit"
    size = network.arguments.whole(name) or 1
    ranks = {"network_dim": network.network_dim or 4, "conv_dim": network.conv_dim or size}
    for option, rank in ranks.items():
        if rank % size:
            yield Problem(
                f"{option} {rank} is no multiple of {name} {size}",
                f"{option}, network_args",
                f"set {option} to {size * max(1, rank // size)}",
            )


@rule("network_module", "algo", "network_dim", "conv_dim")
def ranks_of_a_usual_size(network: NetworkOptions) -> Iterator[Problem]:
    """A rank beyond every layer's width asks LoKr for whole factors; elsewhere it is a slip."""
    if network.network_module == "lycoris.kohya" and network.algo == "lokr":
        return
    for option, rank in (("network_dim", network.network_dim), ("conv_dim", network.conv_dim)):
        if rank is not None and rank > _LARGEST_RANK:
            yield Problem(
                f"{rank} is too large", option, f"give 1 to {_LARGEST_RANK}, or leave it empty"
            )


@rule("network_module", "algo", "scale_weight_norms")
def norms_that_can_be_scaled(network: NetworkOptions) -> Iterator[Problem]:
    """A norm can be limited where the change of the weights is a product that can be scaled."""
    if not network.scale_weight_norms:
        return
    algo = network.algo or "lora"
    fits = {"networks.lora": True, "networks.lora_fa": True, "networks.dylora": True,
            "networks.oft": False, "lycoris.kohya": algo in _NORMS}  # fmt: skip
    if not fits[network.network_module]:
        yield Problem(
            "the norm of this network's layers cannot be limited",
            "scale_weight_norms, network_module",
            "empty scale_weight_norms",
        )


@rule("network_module", "optimizer_type", "network_args", "optimizer_args")
def rates_of_blocks_and_factors(
    network: NetworkOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """Rates that differ within the U-Net need an optimizer that takes rates."""
    names = [name for name in (*_COURSES, *_PLUS) if network.arguments.values.get(name) is not None]
    if not names:
        return
    if OPTIMIZERS[optimizer.optimizer_type].sets_own_rate:
        yield Problem(
            f"{optimizer.optimizer_type} finds one learning rate for everything, so {names[0]} "
            "cannot change a part of it",
            "network_args, optimizer_type",
            f"take {' and '.join(names)} out, or choose another optimizer",
        )
    elif optimizer.adafactor_sets_rate:
        yield Problem(
            f"Adafactor chooses the learning rate itself, so {names[0]} cannot change it",
            "network_args, optimizer_type",
            f"take {' and '.join(names)} out, or add relative_step=False to optimizer_args",
        )


@rule("base_weights", "base_weights_multiplier")
def a_strength_for_each_file(network: NetworkOptions) -> Iterator[Problem]:
    """There are not more strengths than files."""
    files, strengths = len(network.base_weights), len(network.base_weights_multiplier)
    if strengths > files:
        yield Problem(
            f"there are {strengths} strengths for {files} files",
            "base_weights_multiplier, base_weights",
            "give one for each file, or fewer: missing ones are 1",
            severity="warning",
        )
