"""Which folder a job's tagger is in, and fetching it from the hub when that is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sd_scripts.captioning.labels import CSV_NAME, MAPPING_NAME, MODEL_NAMES, find_tagger
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import Problem, UserError
from sd_scripts.options.groups.captioning import TaggerOptions
from sd_scripts.shipped import STARTER_TAGGER

DEFAULT_PARENT: Final = "wd14_tagger_model"
"""Where sd-scripts keeps taggers, in the working folder."""
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_ON: Final = frozenset({"1", "ON", "YES", "TRUE"})


def tagger_folder(options: TaggerOptions) -> Path:
    """Return the folder that a job means; its tagger may be missing."""
    if options.repo_id is None:
        return Path(options.model_dir).expanduser() if options.model_dir else STARTER_TAGGER
    parent = Path(options.model_dir or DEFAULT_PARENT).expanduser()
    # A repository may hold several: "owner/name/folder/of/one".
    owner, name, *inside = options.repo_id.split("/")
    named = parent.joinpath(f"{owner}_{name}", *inside)
    own = find_tagger(parent) is not None and not named.exists() and not options.force_download
    return parent if own else named


def missing_tagger(folder: Path, options: TaggerOptions) -> Problem:
    """Say what is missing and what to do about it."""
    needed = f"a tagger is {MODEL_NAMES[0]} with {CSV_NAME} (or {MAPPING_NAME})"
    option = "model_dir" if options.repo_id is None else "model_dir, repo_id"
    if options.repo_id is None and options.model_dir is None:
        return Problem(
            f"The tagger that comes with this program is not in {shown(folder)}",
            option,
            f"Name the folder of another one in model_dir: {needed}.",
        )
    missing = "has no tagger in it" if folder.is_dir() else "is not there"
    starter = STARTER_TAGGER
    others = f"leave model_dir and repo_id empty for the small tagger in {shown(starter)}"
    if options.repo_id is not None:
        others = f"set force_download to fetch {options.repo_id} while online, or {others}"
    return Problem(
        f"The folder {shown(folder)} {missing}: {needed}", option, f"Put it there, or {others}."
    )


def is_offline() -> bool:
    """Whether the environment says that nothing may be downloaded."""
    return any(os.environ.get(name, "").upper() in _ON for name in _OFFLINE)


def offline_problem(options: TaggerOptions) -> Problem | None:
    """Tell a download that is asked for and not allowed."""
    if not options.force_download or not is_offline():
        return None
    return Problem(
        f"{options.repo_id} cannot be downloaded: this process is offline (HF_HUB_OFFLINE)",
        "force_download",
        "Take force_download out to use what is there, or allow downloads.",
    )


def download(options: TaggerOptions) -> None:
    """Fetch the tagger `repo_id` into its folder. Raises `UserError`."""
    from huggingface_hub import hf_hub_download, list_repo_files
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    assert options.repo_id is not None
    owner, name, *inside = options.repo_id.split("/")
    folder = tagger_folder(options)
    root = folder.parents[len(inside) - 1] if inside else folder
    before = "".join(f"{part}/" for part in inside)
    try:
        there = set(list_repo_files(f"{owner}/{name}"))
        model = next((one for one in MODEL_NAMES if before + one in there), None)
        tags = next((one for one in (CSV_NAME, MAPPING_NAME) if before + one in there), None)
        if model is None or tags is None:
            raise UserError(
                f"{options.repo_id} on the hub is no tagger: it has no ONNX model with a list of "
                "tags",
                option="repo_id",
                hint="Name another, such as SmilingWolf/wd-vit-tagger-v3.",
            )
        for file in (model, f"{model}.data", tags):
            if before + file in there:
                hf_hub_download(
                    f"{owner}/{name}", before + file, local_dir=root, force_download=True
                )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"{options.repo_id} could not be downloaded: {str(error).splitlines()[0]}",
            option="repo_id, force_download",
            hint="Check the name and the connection, or put the files into model_dir by hand.",
        ) from error
