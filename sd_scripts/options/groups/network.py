"""Options that say which small network is trained on the model (LoRA)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.network_arguments import NetworkArguments
from sd_scripts.options.network_table import NETWORKS, Algorithm, NetworkName
from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import KeyValues, PathText

_LYCORIS = Applies(when=(("network_module", ("lycoris.kohya",)),))


def _known_by(option: str) -> Applies:
    modules = tuple(entry.name for entry in NETWORKS.values() if option in entry.carried)
    return Applies(when=(("network_module", modules),))


class NetworkOptions(Options):
    """The network that learns."""

    title: ClassVar[str] = "LoRA"

    network_module: Annotated[
        NetworkName,
        Opt(
            "Kind of network",
            choice_help=tuple((entry.name, entry.text) for entry in NETWORKS.values()),
            records=True,
        ),
    ] = "networks.lora"
    """What is trained beside the model's own weights, which stay as they are. LoRA is understood by
    every program; the others are for special wishes."""

    algo: Annotated[
        Algorithm | None,
        Opt(
            "LyCORIS algorithm",
            carrier="network_args",
            applies=_LYCORIS,
            keywords=("loha", "lokr", "locon", "lycoris"),
        ),
    ] = None
    """How LyCORIS learns. Empty: lora. lokr and loha make small files; full learns whole weights;
    ia3 hardly any; diag-oft and boft turn weights and keep their lengths."""

    preset: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("LyCORIS layers", carrier="network_args", applies=_LYCORIS),
    ] = None
    """Which layers LyCORIS trains: full, full-lin, attn-mlp, attn-only, unet-only,
    unet-transformer-only, unet-convblock-only, ia3, or a .toml file of LyCORIS. Empty: full."""

    network_dim: Annotated[
        int | None,
        Field(ge=1, le=1_000_000),
        Opt(
            "Rank",
            cost=(
                "Twice the rank is twice the file and twice the memory for what learns; "
                "time hardly changes."
            ),
            tier="basic",
            keywords=("rank", "dim"),
            records=True,
        ),
    ] = None
    """How much the LoRA can hold. Empty: 4. Usual: 8 to 32 for a person or thing, 32 to 128 for
    styles. File size, memory and the risk of learning by heart grow with it."""

    network_alpha: Annotated[
        float,
        Field(ge=0, le=100_000),
        Opt("Alpha", cost="None: it only scales.", tier="basic", keywords=("alpha",), records=True),
    ] = 1.0
    """Scales the LoRA's effect by alpha / rank. Usual: half of the rank or the rank itself; with a
    smaller alpha, a higher learning rate is needed. 0: as the rank."""

    network_dropout: Annotated[
        float | None,
        Field(ge=0, lt=1),
        Opt(
            "Dropout",
            cost="No memory; what is left out has to be learned in other steps.",
            step=0.05,
            keywords=("dropout",),
            records=True,
        ),
    ] = None
    """Share of the LoRA's inputs that is left out at random in each step, against learning by
    heart. 0 or empty: none. Usual: 0 to 0.3."""

    network_args: Annotated[KeyValues, Opt("Further arguments", tier="expert")] = ()
    """Further arguments of the network as name=value; which there are is told at the end of
    docs/options.md. conv_dim, algo and others that are options of their own may stand here as in
    sd-scripts; they are read into the options of that name."""

    rank_dropout: Annotated[
        float | None,
        Field(ge=0, lt=1),
        Opt(
            "Dropout of ranks",
            tier="expert",
            step=0.05,
            carrier="network_args",
            applies=_known_by("rank_dropout"),
        ),
    ] = None
    """Share of the network's ranks that is left out at random in each step. 0 or empty: none."""

    module_dropout: Annotated[
        float | None,
        Field(ge=0, lt=1),
        Opt(
            "Dropout of layers",
            tier="expert",
            step=0.05,
            carrier="network_args",
            applies=_known_by("module_dropout"),
        ),
    ] = None
    """Share of the network's layers that is left out at random in each step. 0 or empty: none."""

    scale_weight_norms: Annotated[
        float | None,
        Field(gt=0, le=1000),
        Opt(
            "Largest norm of a layer",
            cost=(
                "The norm of every layer is computed after each step, which takes a little time."
            ),
            tier="expert",
            off_values=(0,),
            records=True,
        ),
    ] = None
    """After each step, layers whose change of the weights has a larger norm are scaled down to it,
    against burning. Empty: off. 1 is a good start."""

    conv_dim: Annotated[
        int | None,
        Field(ge=1, le=1_000_000),
        Opt(
            "Rank of convolutions",
            cost=(
                "Convolutions have nine times the inputs of other layers of their "
                "width: the file grows faster than with network_dim, and a step takes "
                "somewhat longer."
            ),
            carrier="network_args",
            keywords=("locon",),
        ),
    ] = None
    """Also trains the 3x3 convolutions (LoCon), with this rank. Empty: not trained, or with
    LyCORIS as network_dim. Helps styles and textures; the file grows. Usual: 4 to 32."""

    conv_alpha: Annotated[
        float | None,
        Field(ge=0, le=100_000),
        Opt(
            "Alpha of convolutions",
            carrier="network_args",
            applies=Applies(when=(("conv_dim", ()),)),
        ),
    ] = None
    """As network_alpha, for the convolutions. Empty: 1, or with LyCORIS as network_alpha."""

    network_train_unet_only: Annotated[
        bool,
        Opt(
            "Train the U-Net only",
            typical="On for SDXL, off for SD 1.x",
            cost="Saves the gradients of the text encoder, and lets captions be cached.",
            tier="basic",
        ),
    ] = False
    """Leaves the text encoder as it is. Recommended for SDXL; saves memory, and captions can be
    cached."""

    network_train_text_encoder_only: Annotated[
        bool, Opt("Train the text encoder only", tier="expert")
    ] = False
    """Leaves the U-Net as it is; only the meaning of words is learned. Seldom wanted."""

    network_weights: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Continue from a LoRA", path="file", keywords=("continue",)),
    ] = None
    """A LoRA file to start from instead of an empty one. (To go on with a stopped run exactly where
    it was, use resume.)"""

    dim_from_weights: Annotated[
        bool, Opt("Take rank from that LoRA", applies=Applies(when=(("network_weights", ()),)))
    ] = False
    """Takes ranks and alphas from the file in network_weights instead of from the options here."""

    base_weights: Annotated[
        tuple[PathText, ...],
        Opt("LoRAs merged into the model", tier="expert", path="file"),
    ] = ()
    """LoRA or LyCORIS files that are merged into the base model before training, which then learns
    what they leave open. They are not part of the trained file."""

    base_weights_multiplier: Annotated[
        tuple[float, ...],
        Opt("Strengths of these", tier="expert", applies=Applies(when=(("base_weights", ()),))),
    ] = ()
    """How strongly each file of base_weights is merged. Missing ones: 1."""

    @property
    def arguments(self) -> NetworkArguments:
        """`network_args` as typed values, with defaults."""
        return NetworkArguments.of(NETWORKS[self.network_module], self.network_args)

    @property
    def trains_unet(self) -> bool:
        """Whether the U-Net gets a network at all (its learning rate may still be 0)."""
        return not self.network_train_text_encoder_only

    @property
    def trains_text_encoder(self) -> bool:
        """Whether the text encoders get a network at all (their rate may still be 0)."""
        return not self.network_train_unet_only
