"""Options that say which model is trained and how it is read."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import PathText


class ModelOptions(Options):
    """The base model."""

    title: ClassVar[str] = "Model"

    pretrained_model_name_or_path: Annotated[
        PathText,
        Field(min_length=1),
        Opt(
            "Base model",
            tier="basic",
            path="file_or_folder",
            keywords=("model", "checkpoint", "base_model"),
        ),
    ]
    """The model that learns: one .safetensors or .ckpt file, or a folder in diffusers' layout.
    Choose the model you will make pictures with later, or the one it was made from."""

    v2: Annotated[bool | None, Opt("Stable Diffusion 2", tier="expert")] = None
    """Says that the model is Stable Diffusion 2.x. Empty: seen from the file, which is nearly
    always right. If it contradicts the file, the job is refused."""

    v_parameterization: Annotated[
        bool | None, Opt("Model predicts v", tier="expert", keywords=("vpred", "v_pred"))
    ] = None
    """Says whether the model predicts v (SD 2.x 768, NoobAI v-pred) instead of noise. Empty: seen
    from the file. Set it when the file does not tell and pictures come out washed out or burnt."""

    vae: Annotated[
        PathText | None, Field(min_length=1), Opt("Other VAE", path="file_or_folder")
    ] = None
    """A VAE file or folder used in place of the one inside the model. Empty: the model's own."""

    no_half_vae: Annotated[
        bool,
        Opt(
            "VAE in full precision",
            typical="On for SDXL, off for SD 1.x and 2.x",
            cost=("The VAE takes 335 MB instead of 167 MB while it is used (84 million numbers)."),
            records=False,
        ),
    ] = False
    """Runs the VAE in 32 bits even when training in fp16 or bf16. Needed for the original SDXL VAE
    in fp16, which otherwise gives NaN or black pictures. Costs memory while pictures are encoded
    and while previews are made."""

    clip_skip: Annotated[
        int | None,
        Field(ge=1, le=12),
        Opt("Clip skip", applies=Applies(families=("sd1", "sd2")), records=True),
    ] = None
    """Takes the text encoder's output this many layers before its end. 1 or empty: the last layer;
    2 is usual for anime models made from NovelAI's. SDXL always uses its own fixed layer."""

    max_token_length: Annotated[
        Literal[150, 225] | None,
        Opt(
            "Longest caption",
            typical="225 for long lists of tags, as with Illustrious and NoobAI",
            cost=(
                "Each further 75 tokens are one more pass of the text encoders, and the "
                "U-Net looks at more words; little beside the rest of a step."
            ),
            unit="tokens",
            off_values=(75,),
            records=True,
        ),
    ] = None
    """How many tokens of a caption are read. Empty: 75, what the text encoder knows. Longer
    captions are read in pieces of 75, which costs a little time per step."""
