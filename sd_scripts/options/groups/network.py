"""Options that say which small network is trained on the model (LoRA)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.network_table import LATER_NETWORKS, NETWORKS, NetworkName
from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import KeyValues, PathText


class NetworkOptions(Options):
    """The network that learns."""

    title: ClassVar[str] = "LoRA"

    network_module: Annotated[
        NetworkName,
        Opt(
            "Kind of network",
            tier="expert",
            later=LATER_NETWORKS,
            choice_help=tuple((entry.name, entry.text) for entry in NETWORKS.values()),
            records=True,
        ),
    ] = "networks.lora"
    """What is trained beside the model's own weights, which stay as they are."""

    network_dim: Annotated[
        int | None,
        Field(ge=1, le=4096),
        Opt("Rank", tier="basic", keywords=("rank", "dim"), records=True),
    ] = None
    """How much the LoRA can hold. Empty: 4. Usual: 8 to 32 for a person or thing, 32 to 128 for
    styles. File size, memory and the risk of learning by heart grow with it."""

    network_alpha: Annotated[
        float,
        Field(ge=0, le=100_000),
        Opt("Alpha", tier="basic", keywords=("alpha",), records=True),
    ] = 1.0
    """Scales the LoRA's effect by alpha / rank. Usual: half of the rank or the rank itself; with a
    smaller alpha, a higher learning rate is needed. 0: as the rank."""

    network_dropout: Annotated[
        float | None,
        Field(ge=0, lt=1),
        Opt("Dropout", step=0.05, keywords=("dropout",), records=True),
    ] = None
    """Share of the LoRA's inputs that is left out at random in each step, against learning by
    heart. 0 or empty: none. Usual: 0 to 0.3."""

    network_args: Annotated[KeyValues, Opt("Further arguments", tier="expert")] = ()
    """Further arguments of the network as name=value. conv_dim and conv_alpha may stand here as in
    sd-scripts; they are read into the options of that name."""

    conv_dim: Annotated[
        int | None,
        Field(ge=1, le=4096),
        Opt("Rank of convolutions", carrier="network_args", keywords=("locon",)),
    ] = None
    """Also trains the 3x3 convolutions (LoCon), with this rank. Empty: not trained. Helps styles
    and textures; the file grows. Usual: 4 to 32."""

    conv_alpha: Annotated[
        float | None,
        Field(ge=0, le=100_000),
        Opt(
            "Alpha of convolutions",
            carrier="network_args",
            applies=Applies(when=(("conv_dim", ()),)),
        ),
    ] = None
    """As network_alpha, for the convolutions. Empty: 1."""

    network_train_unet_only: Annotated[bool, Opt("Train the U-Net only", tier="basic")] = False
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

    @property
    def trains_unet(self) -> bool:
        """Whether the U-Net gets a network at all (its learning rate may still be 0)."""
        return not self.network_train_text_encoder_only

    @property
    def trains_text_encoder(self) -> bool:
        """Whether the text encoders get a network at all (their rate may still be 0)."""
        return not self.network_train_unet_only
