"""What a form means right now: model, pictures, steps and everything wrong, as one types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms import option_words
from kohya_gui.forms.course import course_report
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import changed_names
from kohya_gui.forms.preparation import Prepared, prepare
from kohya_gui.forms.report import data_report, problem_row
from kohya_gui.forms.scans import Scan, Scans
from kohya_gui.locales import Texts
from kohya_gui.locales.speaking import told
from kohya_gui.settings import load_settings
from kohya_gui.workspace import Workspace
from sd_scripts.dataset.plan import DatasetPlan, plan_dataset
from sd_scripts.dataset.steps import StepArithmetic, step_arithmetic
from sd_scripts.errors import Problem, errors_among
from sd_scripts.families.detect import ModelInfo, inspect_model, resolve_model
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.training import TrainingOptions
from sd_scripts.options.groups.validation import ValidationOptions
from sd_scripts.options.schema import Applies, OptionSpec, specs_by_name
from sd_scripts.options.values import Reading
from sd_scripts.train.preflight import folder_problems

MODEL: Final = "pretrained_model_name_or_path"
LOOKED_AT_CLOSELY: Final = (MODEL, "train_data_dir", "reg_data_dir", "dataset_config")
"""Paths whose problems are told by the trainer's own look at them."""
MODEL_WAIT: Final = 0.3
DATA_WAIT: Final = 0.15
"""Seconds that a form waits for a look at its files to end; most are done by then."""
WANTED_VIEWS: Final = 100
"""So often a LoRA sees each picture, when nothing else is known: 80 to 150 are usual."""


@dataclass
class Insight:
    """All that is known of a form now; of the model once it was looked at."""

    prepared: Prepared
    reading: Reading
    model: Scan | None = None
    family: str | None = None
    prediction_type: str | None = None
    data: Scan | None = None
    arithmetic: StepArithmetic | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def working(self) -> bool:
        """Tell whether a look at files is still going on."""
        return any(scan is not None and scan.state == "working" for scan in (self.model, self.data))

    @property
    def plan(self) -> DatasetPlan | None:
        """The plan of the pictures, once it is there."""
        found = self.data.found if self.data is not None and self.data.state == "done" else None
        return found if isinstance(found, DatasetPlan) else None

    @property
    def errors(self) -> list[Problem]:
        """What must be mended before the job can run."""
        return errors_among(self.problems)


class Live:
    """Looks at forms for the page; what takes long is done in the background by `scans`."""

    def __init__(self, scans: Scans, workspace: Workspace, text: Texts) -> None:
        self._scans = scans
        self._workspace = workspace
        self._text = text

    def look(self, draft: Draft, *, patience: float = 1.0) -> Insight:
        """Find out all that can be known of a form without waiting long: not at all without
        `patience`, which is a share of the usual wait for looks at files."""
        prepared = prepare(draft, self._workspace)
        reading = Reading(prepared.job_type, prepared.values)
        insight = Insight(prepared, reading)
        told = [*reading.problems, *prepared.problems]
        told += self._look_at_model(insight, MODEL_WAIT * patience)
        told += self._look_at_pictures(insight, DATA_WAIT * patience)
        told += _path_problems(prepared)
        insight.problems = list(dict.fromkeys(told))
        return insight

    def look_again(self, draft: Draft) -> None:
        """Forget what was found in the folders of a form: they are read anew."""
        insight = self.look(draft)
        self._scans.forget(_model_key(insight.prepared))
        self._scans.forget(_data_key(insight))

    def _look_at_model(self, insight: Insight, wait: float) -> Iterable[Problem]:
        path = insight.prepared.values.get(MODEL)
        if not isinstance(path, str) or not path:
            return ()
        scan = self._scans.look(
            _model_key(insight.prepared), lambda progress: inspect_model(path), wait=wait
        )
        insight.model = scan
        if scan.state == "failed":
            return scan.problems
        if not isinstance(scan.found, ModelInfo):
            return ()
        model = insight.reading.groups.get("model")
        assert isinstance(model, ModelOptions)
        resolved, problems = resolve_model(scan.found, model.v2, model.v_parameterization)
        insight.family = resolved.family if resolved else None
        insight.prediction_type = resolved.prediction_type if resolved else None
        return problems

    def _look_at_pictures(self, insight: Insight, wait: float) -> Iterable[Problem]:
        groups = insight.reading.groups
        data, caption = groups.get("data"), groups.get("caption")
        assert isinstance(data, DataOptions)
        assert isinstance(caption, CaptionOptions)
        validation = groups.get("validation")
        assert isinstance(validation, ValidationOptions | None)
        if not (data.train_data_dir or data.in_json or data.dataset_config):
            return ()
        family, prediction = insight.family, insight.prediction_type
        scan = self._scans.look(
            _data_key(insight),
            lambda progress: plan_dataset(
                data,
                caption,
                validation,
                family=family,
                prediction_type=prediction,
                progress=progress,
            ),
            wait=wait,
        )
        insight.data = scan
        if scan.state == "failed":
            return scan.problems
        plan = insight.plan
        if plan is None:
            return ()
        training = groups.get("training")
        assert isinstance(training, TrainingOptions)
        insight.arithmetic = step_arithmetic(
            plan,
            max_train_steps=training.max_train_steps,
            max_train_epochs=training.max_train_epochs,
            gradient_accumulation_steps=training.gradient_accumulation_steps,
            num_processes=load_settings(self._workspace)[0].processes.num_processes,
        )
        return plan.problems

    def report(self, draft: Draft) -> dict[str, Any]:
        """Return everything the page shows about a form, as plain data for its script."""
        insight = self.look(draft)
        raw = insight.prepared.raw
        changed = list(changed_names(insight.prepared.job_type, raw))
        return {
            "working": insight.working,
            "changed": changed,
            "inert": self._inert(insight),
            "problems": [
                problem_row(problem, raw, touched=bool(changed)) for problem in insight.problems
            ],
            "family": self._family(insight),
            "data": data_report(insight.data, self._text),
            "steps": self._steps(insight),
            "course": course_report(insight.reading, insight.arithmetic),
            "next": self._next(insight),
            "name": insight.prepared.name,
        }

    def _family(self, insight: Insight) -> dict[str, Any]:
        scan = insight.model
        if scan is None:
            return {"state": "none"}
        if isinstance(scan.found, ModelInfo) and scan.state == "done":
            return {"state": "done", "text": told(scan.found.text), "family": insight.family}
        return {"state": scan.state, "text": self._text("form.model_reading")}

    def _steps(self, insight: Insight) -> dict[str, Any]:
        arithmetic, plan = insight.arithmetic, insight.plan
        if arithmetic is None or plan is None or not arithmetic.total_steps:
            return {"state": "none"}
        num_pictures = sum(not sample.is_reg for sample in plan.samples)
        shown = plan.num_train_images / max(1, num_pictures)
        epochs = arithmetic.total_steps / max(1, arithmetic.steps_per_epoch)
        return {
            "state": "done",
            "text": told(arithmetic.text),
            "total": arithmetic.total_steps,
            "epochs": arithmetic.num_epochs,
            "views": round(shown * epochs),
            "wanted_epochs": max(1, round(WANTED_VIEWS / max(1.0, shown))),
        }

    def _next(self, insight: Insight) -> dict[str, str | None]:
        """Return the one thing to do next: a sentence and the option to go to."""
        values, text = insight.prepared.values, self._text
        first_bad = {name for problem in insight.errors for name in names_in(problem)}

        def step(key: str, option: str | None = None, **fields: object) -> dict[str, str | None]:
            return {"key": key, "text": text(f"next.{key}", **fields), "option": option}

        if not values.get(MODEL):
            return step("model", MODEL)
        if MODEL in first_bad:
            return step("mend_model", MODEL)
        if not values.get("train_data_dir") and not values.get("dataset_config"):
            return step("pictures", "train_data_dir")
        if insight.working:
            return step("wait")
        if errors := insight.errors:
            names = names_in(errors[0])
            return step("mend", names[0] if names else None, count=len(errors))
        if not values.get("output_name"):
            return step("name", "output_name")
        if (
            values.get("learning_rate")
            == specs_by_name(insight.prepared.job_type)["learning_rate"].default
        ):
            return step("rate", "learning_rate")
        return step("start")

    def _inert(self, insight: Insight) -> dict[str, str]:
        """Return the options that have no effect as the form stands, and why."""
        values = {name: value for group in insight.reading.groups.values() for name, value in group}
        found: dict[str, str] = {}
        for name, spec in specs_by_name(insight.prepared.job_type).items():
            if reason := self._why_inert(spec.applies, values, insight):
                found[name] = reason
        return found

    def _why_inert(
        self, applies: Applies, values: Mapping[str, object], insight: Insight
    ) -> str | None:
        if insight.family and applies.families and insight.family not in applies.families:
            names = ", ".join(self._text(f"js.family.{name}") for name in applies.families)
            return self._text("inert.family", families=names)
        return why_inert(self._text, applies, values, specs_by_name(insight.prepared.job_type))


def why_inert(
    text: Texts,
    applies: Applies,
    values: Mapping[str, object],
    specs: Mapping[str, OptionSpec],
) -> str | None:
    """Say why an option has no effect beside the other values; None if it has."""
    for other, wanted in applies.when:
        value = values.get(other)
        if value in wanted or (not wanted and value not in (None, "", False, ())):
            continue
        shown = " / ".join(str(choice).lower() for choice in wanted if choice is not True)
        key = "inert.when_value" if shown else "inert.when"
        return text(key, option=other, label=option_words.label(specs[other], text), values=shown)
    return None


def names_in(problem: Problem) -> list[str]:
    """Return the options that a problem names."""
    return [name.strip() for name in (problem.option or "").split(",") if name.strip()]


def _model_key(prepared: Prepared) -> tuple[object, ...]:
    path = str(prepared.values.get(MODEL) or "")
    try:
        stat = Path(path).stat()
        mark = (stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError):
        mark = (0, 0)
    return ("model", path, mark)


def _data_key(insight: Insight) -> tuple[object, ...]:
    groups = insight.reading.groups
    dumped = tuple(repr(groups.get(name)) for name in ("data", "caption", "validation"))
    return ("pictures", insight.family, insight.prediction_type, *dumped)


def _path_problems(prepared: Prepared) -> Iterable[Problem]:
    for name, spec in specs_by_name(prepared.job_type).items():
        value = prepared.values.get(name)
        if spec.path is None or not isinstance(value, str) or name in LOOKED_AT_CLOSELY:
            continue
        if name == "sample_prompts" and prepared.prompt_file is not None:
            continue
        yield from _problems_of_path(spec, value)


def _problems_of_path(spec: OptionSpec, value: str) -> Iterable[Problem]:
    try:
        path = Path(value)
        if spec.path == "output_folder":
            yield from folder_problems(path, spec.name)
        elif spec.path == "file" and not path.is_file():
            yield Problem(f"there is no file {value}", spec.name, "check the path, or clear it")
        elif spec.path == "file_or_folder" and not path.exists():
            yield Problem(f"there is nothing at {value}", spec.name, "check the path, or clear it")
        elif spec.path == "folder" and path.exists() and not path.is_dir():
            yield Problem(f"{value} is a file", spec.name, "choose a folder")
        elif spec.name == "resume" and not path.exists():
            yield Problem(f"there is no folder {value}", spec.name, "check the path, or clear it")
    except (OSError, ValueError) as error:
        yield Problem(f"this path cannot be used: {error}", spec.name, "choose another one")
