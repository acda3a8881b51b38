"""Titles and notes of presets in the language that is asked for; English stands in their files."""

from __future__ import annotations

from functools import cache

from kohya_gui.forms.presets import FOLDER_OF_JOB, Preset, presets_of
from kohya_gui.locales import Texts
from sd_scripts.options.jobs import JOBS


def title(preset: Preset, job_name: str, text: Texts) -> str:
    """Return what a preset of a job is called; the user's own ones are as they were named."""
    return preset.title if preset.group == "own" else text.optional(*_title(preset, job_name))


def note(preset: Preset, job_name: str, text: Texts) -> str:
    """Return what a preset of a job is for."""
    return preset.note if preset.group == "own" else text.optional(*_note(preset, job_name))


def _title(preset: Preset, job_name: str) -> tuple[str, str]:
    return f"{_key(preset, job_name)}.title", preset.title


def _note(preset: Preset, job_name: str) -> tuple[str, str]:
    return f"{_key(preset, job_name)}.note", preset.note


def _key(preset: Preset, job_name: str) -> str:
    return f"preset.{FOLDER_OF_JOB.get(job_name, job_name)}.{preset.id}"


@cache
def english_words() -> dict[str, str]:
    """Return every title and note that presets carry in English, by its key."""
    found = [(job.name, preset) for job in JOBS.values() for preset in presets_of(job)]
    return dict(pair(preset, name) for name, preset in found for pair in (_title, _note))
