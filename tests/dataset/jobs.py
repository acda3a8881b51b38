"""Plans of real folders, made the way a job makes them."""

from __future__ import annotations

from pathlib import Path

from sd_scripts.dataset.plan import DatasetPlan, plan_dataset
from sd_scripts.errors import Problem
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.validation import ValidationOptions


def planned(
    cache: Path,
    *,
    family: str | None = "sd1",
    validation: ValidationOptions | None = None,
    **options: object,
) -> DatasetPlan:
    """Plan with flat options; those of captions are told by their names."""
    caption = {key: value for key, value in options.items() if key in CaptionOptions.model_fields}
    data = {key: value for key, value in options.items() if key not in caption}
    data = {key: str(value) if isinstance(value, Path) else value for key, value in data.items()}
    return plan_dataset(
        DataOptions(**{"cache_dir": str(cache), **data}),
        CaptionOptions(**caption),
        validation,
        family=family,
    )


def told(plan: DatasetPlan, severity: str, option: str = "") -> list[Problem]:
    """The problems of a severity that name an option."""
    return [
        problem
        for problem in plan.problems
        if problem.severity == severity and option in (problem.option or "")
    ]


def only(problems: list[Problem]) -> Problem:
    """The one problem there is."""
    assert len(problems) == 1, problems
    return problems[0]
