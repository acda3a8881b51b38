"""Jobs of the tools page: cutting a DyLoRA to its ranks, ranking a training's pictures by loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.forms.preparation import whole_path
from kohya_gui.jobs.lanes import ANY
from kohya_gui.jobs.store import RunSummary
from kohya_gui.pages.dataset_jobs import (
    Answer,
    ended_run,
    fields_of,
    in_words,
    job_state,
    start_job,
    stop_job,
)
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.shell import widget
from kohya_gui.thumbnails import Thumbnails
from kohya_gui.trying.sources import offer_of
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import RankLossesJob, SliceDyloraJob
from sd_scripts.options.toml_file import read_toml

NUM_RUNS: Final = 30
NUM_SHOWN: Final = 20
_TRAINED: Final = "train_network"
_LOSSES: Final = "losses.json"
_NOT_RANKED: Final = ("network_weights", "resume", "output_dir")
"""What a training says of its own files; a ranking has a folder of its own and reads one file."""


def build_jobs(context: Context) -> None:
    """Place the cards; called within the tools page."""
    jobs = ToolJobs(context)
    fields = fields_of(SliceDyloraJob, ("model", "unit"), context.text)
    widget(
        "tool_jobs",
        server=[
            jobs.slice_start,
            jobs.slice_state,
            jobs.rank_offers,
            jobs.rank_start,
            jobs.rank_state,
            jobs.tool_stop,
            folder_lister(context),
        ],
        elem_id="kg-tool-jobs",
        facts=json.dumps({"fields": fields}),
    )


class ToolJobs:
    """What the script asks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._thumbnails = Thumbnails(context.thumbnails)

    @in_words
    def slice_start(self, data: Mapping[str, Any]) -> Answer:
        """Cut the file that stands in the fields."""
        raw = data.get("raw")
        typed = dict(raw) if isinstance(raw, Mapping) else {}
        given = str(typed.pop("model", "") or "").strip()
        if not given:
            raise UserError(self._context.text("tools.no_file"))
        path = Path(whole_path(given, self._context.workspace))
        model = self._context.browser().resolve(path)
        name = self._context.text("run_name.ranks", name=model.stem)
        return start_job(self._context, SliceDyloraJob, typed, {"model": str(model)}, name)

    @in_words
    def slice_state(self, data: Mapping[str, Any]) -> Answer:
        """Return how the job stands; once it ended, the files it made."""
        answer = job_state(self._context, data)
        run = ended_run(self._context, data, answer)
        if run is not None and run.output.is_dir():
            files = sorted(run.output.glob("*.*"))
            answer["files"] = [
                {"name": one.name, "path": str(one), "bytes": one.stat().st_size} for one in files
            ]
        return answer

    @in_words
    def rank_offers(self, data: Mapping[str, Any]) -> Answer:
        """Return the newest LoRA trainings, each with the files it saved."""
        found = []
        for run in self._context.store.list():
            offer = offer_of(run) if run.job == _TRAINED else None
            if offer is not None:
                files = [{"path": path, "name": Path(path).name} for path in offer.files]
                found.append({"id": run.id, "name": run.name, "files": files})
            if len(found) == NUM_RUNS:
                break
        return {"runs": found}

    @in_words
    def rank_start(self, data: Mapping[str, Any]) -> Answer:
        """Measure the pictures of a training, with a file it saved or with its model alone."""
        text = self._context.text
        run = self._context.store.summary(str(data.get("run") or ""))
        offer = offer_of(run) if run is not None and run.job == _TRAINED else None
        if run is None or offer is None:
            raise UserError(text("tools.no_run"))
        values = {k: v for k, v in _settings(run).items() if k not in _NOT_RANKED}
        if file := str(data.get("file") or ""):
            if file not in offer.files:
                raise UserError(text("tools.file_gone"))
            values["network_weights"] = file
        return start_job(
            self._context, RankLossesJob, {}, values, text("run_name.losses", name=run.name), ANY
        )

    @in_words
    def rank_state(self, data: Mapping[str, Any]) -> Answer:
        """Return how the job stands; once it ended, the pictures whose captions help least."""
        answer = job_state(self._context, data)
        run = ended_run(self._context, data, answer)
        if run is not None and (run.output / _LOSSES).is_file():
            ranked = json.loads((run.output / _LOSSES).read_text("ascii"))
            ranked.sort(key=lambda one: one["caption_gain"])
            answer["count"] = len(ranked)
            answer["file"] = str(run.output / "losses.csv")
            answer["pictures"] = [self._picture(one) for one in ranked[:NUM_SHOWN]]
        return answer

    @in_words
    def tool_stop(self, data: Mapping[str, Any]) -> Answer:
        """End a job, or take it out of the queue."""
        return stop_job(self._context, data)

    def _picture(self, one: Mapping[str, Any]) -> dict[str, Any]:
        path = Path(one["path"])
        seen = self._context.browser().allowed(path) is not None
        small = self._thumbnails.make(path) if seen else None
        return {
            "name": path.name.encode("utf-8", "replace").decode("utf-8"),
            "folder": str(path.parent) if seen else None,
            "small": str(small) if small else None,
            "caption": one["caption"],
            "loss": one["loss"],
            "gain": one["caption_gain"],
        }


def _settings(run: RunSummary) -> Mapping[str, object]:
    """Return the settings of a run. Raises `UserError` and `OSError`."""
    return read_toml(run.folder.config.read_text("utf-8"), run.folder.config.name)
