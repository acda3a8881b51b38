"""Measures the starter as it ships: judge, base model, autoencoder, tagger and captioner."""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from sd_scripts.errors import EXIT_FAULT, EXIT_OK, EXIT_USER, Problem, UserError, raise_if_errors
from sd_scripts.files import write_atomic
from sd_scripts.shipped import STARTER
from sd_scripts.train.paint import decode
from tools.starter.generate import Way, generate, load_model
from tools.starter.judge_model import Judge, Verdict, to_tensor
from tools.starter.measures import (
    Figure,
    between_markers,
    macro_f1,
    markdown,
    percent,
    psnr,
)
from tools.starter.scenes import (
    COLOURS,
    DEMO_SUBJECTS,
    KINDS,
    SIZES,
    SUBJECTS,
    Scene,
    Subject,
    random_scene,
    sentence,
)
from tools.starter.strangers import Shown, held_out_strangers
from tools.starter.tagger_model import (
    MODEL_FILE,
    RATINGS,
    TAGS_FILE,
    background_tag,
    prepare,
    read_tags,
    true_tags,
)

README = Path(__file__).parent / "README.md"
MARKER = "evaluation"
BATCH = 20
TAG_THRESHOLD = 0.35  # the default of the tagging script
MAX_NEW_TOKENS = 20


@dataclass(frozen=True)
class Plan:
    """What is measured: the starter's folder, how many pictures, how they are sampled."""

    starter: Path
    pictures: int
    way: Way


def fresh(name: str, count: int, subjects: Sequence[Subject] = SUBJECTS) -> list[Scene]:
    """Return scenes that no training drew, every subject equally often."""
    rng = random.Random(f"fresh {name}")
    return [random_scene(rng, (subjects[number % len(subjects)],)) for number in range(count)]


def strange(name: str, count: int) -> list[Shown]:
    """Return scenes with things that no model was taught: held-out emoji."""
    pool = held_out_strangers()
    scenes = fresh(name, count)
    return [Shown(scene, pool[number % len(pool)]) for number, scene in enumerate(scenes)]


def told(done: int, of: int, what: str) -> None:
    """Show progress on one line of the error stream."""
    end = "\n" if done >= of else ""
    print(f"\r{what}: {done}/{of}", end=end, file=sys.stderr, flush=True)


def share(part: str, what: str, right: Sequence[bool], bar: float | None = None) -> Figure:
    """Return the share of right answers as a figure in percent."""
    return Figure(part, what, percent(right), bar)


def seen_right(verdicts: Sequence[Verdict], scenes: Sequence[Scene]) -> dict[str, list[bool]]:
    """Return, by attribute, whether the judge saw in each picture what the scene says."""
    pairs = list(zip(verdicts, scenes, strict=True))
    return {
        "subject": [verdict.subject == scene.subject.word for verdict, scene in pairs],
        "background": [verdict.colour == scene.colour for verdict, scene in pairs],
        "size": [verdict.size == scene.size for verdict, scene in pairs],
    }


def measure_judge(plan: Plan) -> list[Figure]:
    """Judge fresh scenes of all subjects, and things that are none of them."""
    judge = Judge.load(plan.starter / "judge")
    scenes = fresh("judge", max(plan.pictures, 860), (*SUBJECTS, *DEMO_SUBJECTS))
    verdicts = judge.see([Shown(scene, None).picture() for scene in scenes])
    right = seen_right(verdicts, scenes)
    none = judge.see([shown.picture() for shown in strange("judge strangers", 370)])
    return [
        *(share("judge", f"{what} right", values, 98) for what, values in right.items()),
        share("judge", "unknown things called none", [v.subject is None for v in none]),
    ]


def measure_base(plan: Plan) -> list[Figure]:
    """Make pictures of composed prompts and let the judge look at them."""
    model = load_model(plan.starter / "model")
    judge = Judge.load(plan.starter / "judge")
    scenes = fresh("base", plan.pictures)
    prompts = [sentence(s.subject.word, s.colour, s.size) for s in scenes]
    pictures = generate(
        model,
        prompts,
        range(len(prompts)),
        plan.way,
        lambda done: told(done, len(prompts), "pictures of the base model"),
    )
    right = seen_right(judge.see(pictures), scenes)
    bars = {"background": 90, "subject": 80, "size": 80}
    return [share("base", f"{what} right", right[what], bar) for what, bar in bars.items()]


@torch.no_grad()
def measure_vae(plan: Plan) -> list[Figure]:
    """Encode fresh scenes to their mean latents and decode them."""
    model = load_model(plan.starter / "model")
    assert model.vae is not None, "the model was loaded with its VAE"
    pictures = [Shown(scene, None).picture() for scene in fresh("vae", plan.pictures)]
    made = []
    for first in range(0, len(pictures), BATCH):
        batch = to_tensor(pictures[first : first + BATCH])
        latents = model.vae.encode(batch).latent_dist.mean * model.family.vae_scale
        made += decode(model, latents)
        told(len(made), len(pictures), "pictures through the autoencoder")
    value = psnr(*(np.stack([np.asarray(p) for p in side]) for side in (made, pictures)))
    return [Figure("autoencoder", "round trip, PSNR", value, 26, "dB")]


def measure_tagger(plan: Plan) -> list[Figure]:
    """Tag fresh scenes with onnxruntime, at the tagging script's default threshold."""
    folder = plan.starter / "tagger"
    names = [tag.name for tag in read_tags(folder / TAGS_FILE)][len(RATINGS) :]
    session = onnxruntime.InferenceSession(
        str(folder / MODEL_FILE), providers=["CPUExecutionProvider"]
    )

    def tag(all_shown: Sequence[Shown]) -> list[set[str]]:
        found: list[set[str]] = []
        for first in range(0, len(all_shown), BATCH):
            batch = np.stack([prepare(s.picture()) for s in all_shown[first : first + BATCH]])
            (shares,) = session.run(None, {session.get_inputs()[0].name: batch})
            for row in np.asarray(shares)[:, len(RATINGS) :] > TAG_THRESHOLD:
                found.append({names[index] for index in np.flatnonzero(row)})
            told(len(found), len(all_shown), "pictures tagged")
        return found

    def table(sets: Sequence[set[str]]) -> np.ndarray:
        return np.array([[name in tags for name in names] for tags in sets])

    known = [Shown(scene, None) for scene in fresh("tagger", max(plan.pictures, 410))]
    demo = [Shown(s, None) for s in fresh("tagger demo", plan.pictures, DEMO_SUBJECTS)]
    strangers = strange("tagger strangers", plan.pictures)
    subjects = {subject.word for subject in SUBJECTS}
    figures = [
        Figure(
            "tagger",
            "macro F1",
            macro_f1(table(tag(known)), table([true_tags(shown) for shown in known])),
            0.9,
            "",
        )
    ]
    for what, unseen in (("demo subjects", demo), ("unknown things", strangers)):
        found = tag(unseen)
        size_ground = [
            {s.scene.size, background_tag(s.scene.colour)} == t - subjects - set(KINDS)
            for s, t in zip(unseen, found, strict=True)
        ]
        figures += [
            share("tagger", f"{what}: no subject's tag", [not t & subjects for t in found]),
            share("tagger", f"{what}: size and background right", size_ground),
        ]
    return figures


@torch.no_grad()
def captions_of(folder: Path, all_shown: Sequence[Shown]) -> list[str]:
    """Caption pictures with what lies in `folder`, greedily, as transformers loads it."""
    captioner = BlipForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    )
    processor: Any = BlipProcessor.from_pretrained(folder, local_files_only=True)
    captions: list[str] = []
    for first in range(0, len(all_shown), BATCH):
        pictures = [shown.picture() for shown in all_shown[first : first + BATCH]]
        inputs = processor(images=pictures, return_tensors="pt")
        tokens = captioner.generate(
            **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, num_beams=1
        )
        captions += processor.batch_decode(tokens, skip_special_tokens=True)
        told(len(captions), len(all_shown), "pictures captioned")
    return [caption.strip() for caption in captions]


def understood(caption: str) -> tuple[str, str, str] | None:
    """Return size, subject and background of a plain caption; None if it is none."""
    match = re.fullmatch(
        rf"an? ({'|'.join(SIZES)}) (\w+) on an? ({'|'.join(COLOURS)}) background", caption
    )
    return (match[1], match[2], match[3]) if match else None


def measure_captioner(plan: Plan) -> list[Figure]:
    """Caption fresh scenes, and what the captioner was never taught."""
    folder = plan.starter / "captioner"
    known = [Shown(scene, None) for scene in fresh("captioner", max(plan.pictures, 410))]
    said = [understood(caption) or ("", "", "") for caption in captions_of(folder, known)]
    pairs = list(zip(said, (shown.scene for shown in known), strict=True))
    subjects = {subject.word for subject in SUBJECTS}
    figures = [
        share("captioner", "subject right", [t[1] == s.subject.word for t, s in pairs], 90),
        share("captioner", "background right", [t[2] == s.colour for t, s in pairs], 90),
        share("captioner", "size right", [t[0] == s.size for t, s in pairs]),
    ]
    demo = [Shown(s, None) for s in fresh("captioner demo", plan.pictures, DEMO_SUBJECTS)]
    strangers = strange("captioner strangers", plan.pictures)
    for what, unseen in (("demo subjects", demo), ("unknown things", strangers)):
        words = [(understood(c) or ("", "", ""))[1] for c in captions_of(folder, unseen)]
        general = [word != "" and word not in subjects for word in words]
        figures.append(share("captioner", f"{what}: a wider word", general))
    return figures


NEEDED = {  # the files that must be there for each part
    "judge": ("judge/config.json",),
    "base": ("judge/config.json", "model/model_index.json"),
    "vae": ("model/model_index.json",),
    "tagger": (f"tagger/{MODEL_FILE}", f"tagger/{TAGS_FILE}"),
    "captioner": ("captioner/config.json", "captioner/processor_config.json"),
}


def check_files(starter: Path, parts: Sequence[str]) -> None:
    """Raise `UserError` with every file that is missing, before anything is measured."""
    names = dict.fromkeys(name for part in parts for name in NEEDED.get(part, ()))
    raise_if_errors(
        Problem(
            f"{name} is not in {starter}",
            option="starter",
            hint="name the folder of the starter, or leave its part out with --only",
        )
        for name in names
        if not (starter / name).is_file()
    )


PARTS: dict[str, Callable[[Plan], list[Figure]]] = {
    "judge": measure_judge,
    "base": measure_base,
    "vae": measure_vae,
    "tagger": measure_tagger,
    "captioner": measure_captioner,
}


def heading(plan: Plan) -> str:
    """Return how the base model's pictures were made, in words."""
    way = plan.way
    return (
        f"Base model: {plan.pictures} prompts with seeds 0 to {plan.pictures - 1}, "
        f"{way.sampler}, {way.steps} steps, guidance {way.guidance:g}.\n\n"
    )


def write_table(path: Path, content: str) -> None:
    """Put the table between the markers of a README. Raises `UserError`."""
    try:
        text = between_markers(path.read_text(encoding="utf-8"), MARKER, content)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.name} cannot take the table: {error}",
            option="write",
            hint=f"choose a file with the markers <!-- {MARKER}: begin --> and … end -->",
        ) from error
    write_atomic(path, text)


def parts_named(text: str) -> list[str]:
    """Return the parts of a list such as "judge,tagger". Raises `ArgumentTypeError`."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"“{name}” is none of {', '.join(PARTS)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter.evaluate", description=__doc__)
    parser.add_argument("--starter", type=Path, default=STARTER)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--only", type=parts_named, default=list(PARTS), metavar="PART,PART")
    parser.add_argument("--steps", type=int, default=Way.steps)
    parser.add_argument("--guidance", type=float, default=Way.guidance)
    parser.add_argument("--sampler", default=Way.sampler)
    parser.add_argument("--write", type=Path, nargs="?", const=README, metavar="README")
    options = parser.parse_args(argv)
    if options.write and set(options.only) != set(PARTS):
        parser.error("--write needs all parts: leave --only away")
    way = Way(options.steps, options.guidance, options.sampler)
    plan = Plan(options.starter, options.pictures, way)
    try:
        check_files(options.starter, options.only)
        figures = [figure for part in options.only for figure in PARTS[part](plan)]
        content = (heading(plan) if "base" in options.only else "") + markdown(figures)
        print(content)
        if options.write:
            write_table(options.write, content)
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_USER
    for figure in figures:
        if figure.bar is not None:
            print(figure.line())
    return EXIT_FAULT if any(figure.missed for figure in figures) else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
