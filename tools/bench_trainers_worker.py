"""The sides of `bench_trainers`: our sessions, and the plain loops they are measured against."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sd_scripts.runs.machine import settle_process
from tools.bench_bare import BareLoop
from tools.bench_session import open_stepping
from tools.bench_step import RANK, SIDE, job_arguments
from tools.turns import serve

Step = Callable[[], object]
LEARNING_RATE = 1e-6
NUM_VECTORS = 2


def session_step(case: str, place: Path, model: Path, precision: str, optimizer: str) -> Any:
    """Open a session of the trainer that a case measures; returns it and what does one step."""
    job_type, arguments = job_of(case, place, model, precision, optimizer)
    return open_stepping(job_type, arguments, place)


def job_of(
    case: str, place: Path, model: Path, precision: str, optimizer: str
) -> tuple[Any, list[str]]:
    """Return the job type and command line of a case."""
    from sd_scripts.options.jobs import TrainDbJob, TrainNetworkJob, TrainTextualInversionJob

    words = job_arguments(place, model, precision)
    network = words.index("--network_dim")
    others = words[:network] + words[network + 4 :]  # without the network's rank and alpha
    if case == "ti":
        return TrainTextualInversionJob, [
            *others,
            *("--token_string", "benchword"),
            *("--init_word", "thing"),
            *("--num_vectors_per_token", str(NUM_VECTORS)),
            "--use_object_template",
        ]
    if case in ("full", "memory"):
        whole = ["--optimizer_type", optimizer]
        if optimizer == "Adafactor":
            whole += ["--optimizer_args", "relative_step=False", "scale_parameter=False"]
        if case == "memory":
            whole += ["--full_bf16", "--fused_backward_pass"]
        return TrainDbJob, [*others, *whole]
    if case == "sdxl":
        return TrainNetworkJob, [*words, "--network_train_unet_only"]
    algo = ["--network_module", "lycoris.kohya", "--network_args", f"algo={case}"]
    return TrainNetworkJob, [*words, *algo, "preset=attn-mlp", "--network_train_unet_only"]


class TwoLoops:
    """Our loop and a plain one on the same whole model and optimizer; `name` says whose turn."""

    def __init__(self, place: Path, model: Path, precision: str) -> None:
        self.name = "ours"
        self._session, self._ours = session_step("full", place, model, precision, "Adafactor")
        loaded = self._session.model
        self._parts = (loaded.unet, loaded.text_encoders[0])
        self._tokens = loaded.family.tokenize(loaded, ["a photo of a thing"])[0][:, 0]
        self._latents = torch.randn(1, 4, SIDE // 8, SIDE // 8)
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._alphas = loaded.family.noise_schedule(loaded)

    def __call__(self) -> object:
        """Do one step of the loop whose turn it is."""
        return self._ours() if self.name == "ours" else self._bare()

    def _bare(self) -> float:
        unet, text_encoder = self._parts
        optimizer: Any = self._session.optimizer.optimizer
        noise = torch.randn_like(self._latents)
        time = torch.randint(0, 1000, (1,))
        alpha = self._alphas[time].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * self._latents + (1 - alpha).sqrt() * noise
        with torch.autocast("cpu", self._dtype, enabled=self._dtype != torch.float32):
            hidden = text_encoder(self._tokens, return_dict=False)[0]
            predicted = unet(noisy, time, hidden, return_dict=False)[0]
        loss = nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()  # type: ignore[no-untyped-call]
        learned = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()


class NewRows(nn.Module):
    """An embedding whose last tokens are rows of their own, which alone learn."""

    def __init__(self, known: nn.Embedding) -> None:
        super().__init__()
        self.known = known
        self.rows = nn.Parameter(known.weight[:NUM_VECTORS].detach().clone().float())

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up tokens [B, T]; those behind the known ones are the rows."""
        new = tokens >= self.known.num_embeddings
        looked_up: Tensor = self.known(tokens.masked_fill(new, 0))
        rows = self.rows[(tokens - self.known.num_embeddings).clamp(min=0)]
        return torch.where(new.unsqueeze(-1), rows.to(looked_up.dtype), looked_up)


class PlainLoop(BareLoop):
    """A step of the U-Net (and text encoder, if it is given gradients) with what was attached."""

    def __init__(self, parts: Any, learned: list[nn.Parameter], dtype: torch.dtype) -> None:
        self.unet, self.text_encoder, self.dtype = parts.unet, parts.text_encoders[0], dtype
        self.optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, fused=True)
        self.alphas = parts.family.noise_schedule(parts)


def loaded_model(model: Path, dtype: torch.dtype, family: str = "sd1") -> Any:
    """Load a frozen model with its text encoders."""
    from sd_scripts.families.base import LoadOptions
    from sd_scripts.families.registry import FAMILIES

    options = LoadOptions(dtype=dtype, parts=frozenset(["text_encoders"]))
    loaded = FAMILIES[family].load(model, options)  # type: ignore[index]
    for module in (loaded.unet, *loaded.text_encoders):
        module.requires_grad_(False)
    return loaded


def bare_inversion(model: Path, dtype: torch.dtype) -> Step:
    """Return the plain loop of Textual Inversion."""
    loaded = loaded_model(model, dtype)
    encoder: Any = loaded.text_encoders[0]
    rows = NewRows(encoder.get_input_embeddings())
    encoder.set_input_embeddings(rows)
    loop = PlainLoop(loaded, [rows.rows], dtype)
    tokens = loaded.family.tokenize(loaded, ["a photo of a thing"])[0][:, 0]
    tokens[0, 2:4] = torch.arange(2) + rows.known.num_embeddings
    latents = torch.randn(1, 4, SIDE // 8, SIDE // 8)
    return lambda: loop.step(latents, tokens)


def bare_library(algo: str, model: Path, dtype: torch.dtype) -> Step:
    """Return a plain loop with LyCORIS' own network on the transformers of the U-Net."""
    from lycoris import LycorisNetwork, create_lycoris

    loaded = loaded_model(model, dtype)
    LycorisNetwork.apply_preset({"target_module": ["Transformer2DModel"]})
    # "Bypass" is the library's fast form, and what ours is.
    network: Any = create_lycoris(
        loaded.unet, 1.0, linear_dim=RANK, linear_alpha=1, algo=algo, bypass_mode=True
    )
    network.apply_to()
    learned = list(network.parameters())
    sizes = sum(parameter.numel() for parameter in learned)
    print(f"library: {len(network.loras)} modules, {sizes} numbers", file=sys.stderr)
    loop = PlainLoop(loaded, learned, dtype)
    tokens = loaded.family.tokenize(loaded, ["a photo of a thing"])[0][:, 0]
    latents = torch.randn(1, 4, SIDE // 8, SIDE // 8)
    return lambda: loop.step(latents, tokens)


def bare_lora(model: Path, dtype: torch.dtype) -> Step:
    """Return the plain loop of a LoRA on U-Net and text encoder of SD 1.x."""
    loaded = loaded_model(model, dtype)
    loop = BareLoop(loaded.unet, loaded.text_encoders[0], rank=RANK, dtype=dtype)
    tokens = loaded.family.tokenize(loaded, ["a photo of a thing"])[0][:, 0]
    latents = torch.randn(1, 4, SIDE // 8, SIDE // 8)
    return lambda: loop.step(latents, tokens)


def bare_sdxl(model: Path, dtype: torch.dtype) -> Step:
    """Return the plain loop of a LoRA on the transformers of SDXL's U-Net."""
    from tools.bench_bare import TARGETS_UNET, attach

    loaded = loaded_model(model, dtype, "sdxl")
    learned = attach(loaded.unet, TARGETS_UNET, RANK)
    for parameter in learned:
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, fused=True)
    alphas = loaded.family.noise_schedule(loaded)
    sizes = torch.tensor([[SIDE, SIDE]])
    extra = loaded.family.conditioning_inputs(sizes, torch.tensor([[0, 0]]), sizes)
    latents = torch.randn(1, 4, SIDE // 8, SIDE // 8)

    def step() -> float:
        noise = torch.randn_like(latents)
        time = torch.randint(0, 1000, (1,))
        alpha = alphas[time].view(-1, 1, 1, 1)
        noisy = (alpha.sqrt() * latents + (1 - alpha).sqrt() * noise).to(dtype)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            with torch.no_grad():
                text = loaded.family.encode_text(loaded, ["a photo of a thing"], None, None)
            predicted = loaded.family.predict(loaded, noisy, time, text, extra)
        loss = nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def bare(case: str, model: Path, precision: str) -> Step:
    """Return the plain loop of a case."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if case == "ti":
        return bare_inversion(model, dtype)
    if case == "sdxl":
        return bare_sdxl(model, dtype)
    if case == "settings":
        return bare_lora(model, dtype)
    return bare_library(case, model, dtype)


def make(name: str, case: str, place: Path, model: Path, precision: str) -> Step:
    """Return what one step of a side is."""
    if name != "ours":
        return bare(case, model, precision)
    optimizer = sys.argv[6] if case == "memory" else "AdamW"
    step: Step = session_step(case, place, model, precision, optimizer)[1]
    return step


def main() -> None:
    """Be one side of the benchmark."""
    name, case, folder, model_file, precision = sys.argv[1:6]
    place, model = Path(folder), Path(model_file)
    if name == "both":
        serve(lambda: TwoLoops(place, model, precision), partial(settle_process, spare_memory=True))
        return
    settle: Callable[[], object] = settle_process
    if name == "bare unsettled":
        settle = str
    elif case == "memory":
        settle = partial(settle_process, spare_memory=True)
    serve(lambda: make(name, case, place, model, precision), settle)


if __name__ == "__main__":
    main()
