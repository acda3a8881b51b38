"""What becomes of each option of sd-scripts here: the text of docs/compatibility.md.

The state of an option follows from the schema and the table of later ones; only the reasons where
it deliberately differs are written down here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from sd_scripts.options.help_text import OWN_FLAGS
from sd_scripts.options.jobs import JOBS, TrainingJob
from sd_scripts.options.later import LATER
from sd_scripts.options.old_names import old_names
from sd_scripts.options.schema import OptionSpec, specs_by_name
from sd_scripts.options.sd_scripts_table import OPTIONS_BY_SECTION, SCRIPTS_OF

State = Literal["same", "better", "refused", "not needed"]

_STREAMS: Final = (
    "drawn from one stream for each seed, epoch and picture: the number of loader processes does "
    "not matter, and a resumed run draws the same"
)
_NEVER_IGNORED: Final = "every trainer honours it; in sd-scripts some ignore it"
_ATOMIC: Final = "a file is there whole or not at all, whatever happens while it is written"
_EXACT: Final = (
    "for every trainer, in the middle of an epoch and repeatedly: weights, optimizer, course, "
    "order and random numbers go on as if the run had never stopped"
)
_SEEN: Final = "empty: seen from the model's file; what contradicts the file is refused"
_TYPED: Final = "names and types are checked before training, and unknown ones refused"
_NOTHING_SENT: Final = (
    "trained files are not sent anywhere: what to publish is decided after looking at it; "
    "`hf upload` sends the finished folder"
)

BETTER: Final[dict[str, str]] = {
    "config_file": "values are checked as on the command line, unknown names are refused with the "
    "nearest known one, and every mistake is told at once",
    "dataset_config": "every mistake in it is told at once, with its place",
    "pretrained_model_name_or_path": "family and prediction type are seen from the file, a damaged "
    "one is told before training, and a pickle's code is never run",
    "v2": _SEEN,
    "v_parameterization": _SEEN,
    "fused_backward_pass": "for every trainer and every optimizer that can step one weight at a "
    "time, not only sdxl_train and Adafactor; with full_bf16 rounded up or down by chance",
    "fused_optimizer_groups": "for every trainer and every optimizer that can be stepped in parts",
    "full_bf16": "every trainer honours it, while train_db and fine_tune of sd-scripts ignore it; "
    "weights are rounded up or down by chance, so that small steps are not lost (but not with "
    "schedule-free optimizers)",
    "fp8_base": "each output channel has its own scale, so that small weights are not lost; norms, "
    "biases, embeddings, first and last layer stay exact; also without mixed precision, on a "
    "CPU and for Textual Inversion; refused where a whole model learns, since it would learn "
    "nothing. quantize_base has int8 and 4 bits too",
    "fp8_base_unet": "as fp8_base",
    "torch_compile": "block by block, so that it goes with networks, gradient checkpointing and "
    "buckets; names in files stay, previews are not held up, and a missing compiler is told "
    "before training. The mode is dynamo_mode",
    "stop_text_encoder_training": "exact, also after a resume; sd-scripts fails at that step",
    "prior_loss_weight": "counts in every trainer, while fine_tune and sdxl_train of sd-scripts "
    "pass it over; whole-model jobs paint class pictures that lack (class_prompt)",
    "save_model_as": "empty: safetensors in every trainer (sd-scripts: .pt for embeddings, .ckpt "
    "for models of one file); averages of an earlier training are left out of models, marks of "
    "v-prediction are kept",
    "block_lr": "works with every optimizer that takes rates, fused or not, and numbers that do "
    "not fit are told with everything else that is wrong",
    "clip_skip": "refused where it leaves no layer of the text encoder",
    "no_half_vae": "also when pictures are not cached, where train_db of sd-scripts ignores it",
    "resolution": "empty: what the model was made for",
    "train_data_dir": "takes any folder of pictures, in a fixed order; unreadable pictures are "
    "told before training",
    "caption_extension": "told when pictures have captions of another ending",
    "shuffle_caption": _STREAMS,
    "caption_dropout_rate": _STREAMS,
    "caption_tag_dropout_rate": _STREAMS,
    "enable_wildcard": _STREAMS,
    "flip_aug": _STREAMS,
    "random_crop": f"{_STREAMS}; SDXL is told the crop that was really taken",
    "color_aug": _STREAMS,
    "face_crop_aug_range": _STREAMS,
    "cache_latents": "decoding runs beside encoding, and NaN is told with its picture",
    "cache_latents_to_disk": "found by the content of picture, VAE and settings, so an edited "
    "picture is encoded anew; kept in the cache folder, not beside your pictures; sd-scripts' .npz "
    "files are read, and written with kohya_caches = write",
    "cache_text_encoder_outputs": "for SD 1.x and 2.x too, and of the caption as it is learned, "
    "with prefix and suffix",
    "cache_text_encoder_outputs_to_disk": "found by the text and the encoder, so a changed caption "
    "is encoded anew; sd-scripts' .npz files are read, and written with kohya_caches = write",
    "max_data_loader_n_workers": "the result is the same for any number",
    "masked_loss": "averaged over the masked part by default, so that a small mask is no small "
    "loss; masked_loss_mean = picture gives the mean of sd-scripts",
    "alpha_mask": "in every trainer and with every loss, while sd-scripts passes it over in "
    "some; averaged as told by masked_loss_mean",
    "seed": "also fixes the order of the pictures; one that was drawn is written into the run's "
    "config",
    "sdpa": "used anyway unless another kind of attention is chosen",
    "optimizer_type": "a missing package is told with its remedy before training; classes that are "
    "not in the list are refused rather than imported",
    "optimizer_args": _TYPED,
    "lr_scheduler_args": _TYPED,
    "network_args": _TYPED,
    "text_encoder_lr": "two numbers give SDXL's text encoders rates of their own",
    "zero_terminal_snr": "weights of the loss and previews follow the changed schedule",
    "min_snr_gamma": "follows the schedule of zero_terminal_snr",
    "debiased_estimation_loss": "follows the schedule of zero_terminal_snr",
    "multires_noise_iterations": "each picture's noise is brought back to its strength by itself, "
    "not the batch as a whole",
    "v_pred_like_loss": _NEVER_IGNORED,
    "output_dir": "empty: the run's own folder; whether it can be written and has room is known "
    "before training",
    "log_with": "the loss on held-out pictures is logged for every trainer; previews are "
    "sent to wandb as sample_0, sample_1 … as there",
    "save_every_n_epochs": _ATOMIC,
    "save_every_n_steps": _ATOMIC,
    "save_state": "there whole or not at all; a state that replaces one of the same name is never "
    "lost, even if the process is killed meanwhile",
    "resume": _EXACT,
    "sample_prompts": "checked before training, and read as UTF-8 everywhere",
    "ddp_timeout": "the others wait for as long as the first one encodes, paints or saves; a "
    "process that fails is told at once",
    "validation_split": "for every trainer; the split is fixed, cannot leak and is written down",
    "token_string": "only the new rows learn and are kept in the optimizer's memory",
}
"""Options that do what sd-scripts does and more, and how."""

REFUSED: Final[dict[str, str]] = {
    "deepspeed": "it cuts the weights into pieces, while LoRA layers, averages and saved files "
    "need them whole; docs/several-processes.md says what saves memory instead",
    "dataset_class": "it would import any class by its name",
    "huggingface_repo_id": _NOTHING_SENT,
    "save_state_to_huggingface": _NOTHING_SENT,
    "resume_from_huggingface": "a run shall start without a network, and go on from what it is "
    "sure of: fetch the state with `hf download`, and give its folder to resume",
    "cpu_offload_checkpointing": "only for other kinds of models; with SD and SDXL sd-scripts "
    "fails on it",
    "diffusers_xformers": "xformers does the same for the whole model",
    "wandb_api_key": "a key does not belong into a job's file; wandb finds its own after `wandb "
    "login`, or in WANDB_API_KEY",
    "huggingface_token": "a token does not belong into a job's file, and nothing is uploaded",
    "output_config": "--print_config prints the complete job",
    "debug_dataset": "--check_only and the page show what the data set gives",
    "initial_epoch": "resume goes on at the exact step by itself",
    "initial_step": "resume goes on at the exact step by itself",
    "skip_until_initial_step": "resume goes on at the exact step by itself",
}
"""Why options are refused; those that only say more about one of them share its reason."""

_INTRODUCTION: Final = """\
# Compatibility with sd-scripts

This file is made from the options themselves: `python -m sd_scripts.options.docs --write`.

Every option of sd-scripts (0.10.1) for SD 1.x, SD 2.x and SDXL, and what becomes of it here:

- **same**: under the same name, with the same meaning and default;
- **better**: the same, and more, as told beside it;
- **refused**: the job is not started while it is on (as long as it is off, it may stand in a file);
- **not needed**: passed over with a warning, since what it is for is done anyway.

Letters: N `train_network`, X `sdxl_train_network`, D `train_db`, F `fine_tune`, S `sdxl_train`,
T `train_textual_inversion`. Here one script serves every kind of model, so X belongs to
`train_network`, and S to `train_db` and `fine_tune`.
"""


@dataclass(frozen=True)
class Standing:
    """What becomes of one option: its state, the jobs that have it, and how or why."""

    state: State
    jobs: tuple[str, ...]
    words: str


def trainers() -> dict[str, type[TrainingJob]]:
    """The jobs that stand for trainers of sd-scripts."""
    return {name: job for name, job in JOBS.items() if issubclass(job, TrainingJob)}


def standing(name: str) -> Standing:
    """Work out what becomes of an option of sd-scripts; `KeyError` for a name nobody knows."""
    specs = {job: specs_by_name(kind).get(name) for job, kind in trainers().items()}
    having = {job: spec for job, spec in specs.items() if spec is not None}
    if having or name in OWN_FLAGS:
        words = [BETTER[name]] if name in BETTER else []
        words += _lesser(next(iter(having.values()))) if having else []
        return Standing("better" if name in BETTER else "same", tuple(having), "; ".join(words))
    for kind in trainers().values():
        if name in old_names(specs_by_name(kind)):
            return Standing("same", tuple(trainers()), "read and translated into today's name")
    row = LATER[name]
    if row.needless:
        return Standing("not needed", (), row.hint)
    return Standing("refused", (), REFUSED.get(name) or f"belongs to {row.master}")


def _lesser(spec: OptionSpec) -> list[str]:
    """Choices of an option that are refused."""
    return [f"refused: {', '.join(spec.later)}"] if spec.later else []


def _row(name: str, found: Standing) -> str:
    here = ", ".join(f"`{job}`" for job in found.jobs) or "–"
    if name in OWN_FLAGS or len(found.jobs) == len(trainers()):
        here = "all"
    scripts = "all" if len(SCRIPTS_OF[name]) == 6 else SCRIPTS_OF[name]
    words = found.words.replace("|", "\\|")
    return f"| `{name}` | {scripts} | {here} | {found.state} | {words} |"


def document() -> str:
    """The whole text of docs/compatibility.md."""
    found = {name: standing(name) for name in SCRIPTS_OF}
    counts = Counter(one.state for one in found.values())
    told = ", ".join(f"{counts[state]} {state}" for state in ("same", "better", "not needed"))
    blocks = [
        _INTRODUCTION.rstrip(),
        f"Of {len(found)} options: {told}, {counts['refused']} refused.",
    ]
    for title, names in OPTIONS_BY_SECTION.items():
        rows = [_row(name, found[name]) for name in names]
        head = "| option | sd-scripts | here | state | |\n|---|---|---|---|---|"
        blocks += [f"## {title}", "\n".join([head, *rows])]
    return "\n\n".join(blocks) + "\n"
