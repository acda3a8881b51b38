"""Preview prompt files: the `--w 512 --s 30` line syntax, TOML and JSON (torch-free).

Source: the sampling section of the sd-scripts documentation (options `sample_prompts`,
`sample_sampler`); the same files work here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, get_args

from sd_scripts.errors import Problem
from sd_scripts.files import parse_toml
from sd_scripts.options.groups.saving import SamplerName

SAMPLERS: Final[tuple[str, ...]] = get_args(SamplerName)
_MAX_STEPS: Final = 1000
_MAX_SIZE: Final = 8192


@dataclass(frozen=True)
class PreviewPrompt:
    """One preview picture to make. Sizes are pixels and multiples of 8; `seed` None is random."""

    prompt: str
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    sample_steps: int = 30
    scale: float = 7.5
    seed: int | None = None
    sample_sampler: str | None = None

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance is used: a scale of 1 or less is without."""
        return self.scale > 1.0

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to encode: negative prompt and prompt, or the prompt alone."""
        return (self.negative_prompt, self.prompt) if self.guided else (self.prompt,)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return read


def _size(text: str) -> int:
    return _whole(64, _MAX_SIZE)(text) // 8 * 8


def _scale(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1000:
        raise ValueError("must be from 0 to 1000")
    return value


def _sampler(text: str) -> str:
    name = text.strip().lower()
    if name not in SAMPLERS:
        raise ValueError("must be one of " + ", ".join(SAMPLERS))
    return name


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "prompt": str.strip,
    "negative_prompt": str.strip,
    "width": _size,
    "height": _size,
    "sample_steps": _whole(1, _MAX_STEPS),
    "scale": _scale,
    "seed": _whole(0, 2**63 - 1),
    "sample_sampler": _sampler,
}
_FLAGS: Final = {
    "n": "negative_prompt",
    "w": "width",
    "h": "height",
    "s": "sample_steps",
    "l": "scale",
    "d": "seed",
    "ss": "sample_sampler",
}
_FLAGS_OF_OTHER_MODELS: Final = {
    "g": "guidance of distilled models",
    "cn": "a ControlNet picture",
    "ctr": "a Lumina option",
    "rcfg": "a Lumina option",
    "fs": "a flow-matching option",
}
_HINT: Final = (
    "Write one prompt a line, such as: a red apple --n blurry --w 512 --h 512 --s 30 --l 7.5 --d 1"
)


def parse_line(line: str) -> tuple[PreviewPrompt | None, list[str]]:
    """Read one line of a `.txt` prompt file; returns the prompt and what is wrong with it."""
    parts = re.split(r"(?:^|\s)--(?=[A-Za-z])", line.strip())
    values: dict[str, Any] = {"prompt": parts[0].strip()}
    wrong = []
    for part in parts[1:]:
        flag, _, text = part.strip().partition(" ")
        flag = flag.lower()
        if flag in _FLAGS_OF_OTHER_MODELS:
            told = _FLAGS_OF_OTHER_MODELS[flag]
            wrong.append(f"“--{flag}” ({told}) has no meaning for Stable Diffusion 1, 2 and XL")
        elif flag not in _FLAGS:
            wrong.append(f"“--{flag}” is not a known flag; there are --" + ", --".join(_FLAGS))
        else:
            try:
                values[_FLAGS[flag]] = _READERS[_FLAGS[flag]](text)
            except ValueError as error:
                wrong.append(f"“--{flag} {text}”: {_told(error)}")
    return (None if wrong else PreviewPrompt(**values)), wrong


def _told(error: ValueError) -> str:
    text = str(error)
    return text if text.startswith("must be") else "must be a number"


def _from_mapping(entry: Mapping[str, Any]) -> tuple[PreviewPrompt | None, list[str]]:
    known = {field.name for field in fields(PreviewPrompt)}
    wrong = [f"“{key}” is not a known setting" for key in entry if key not in known]
    values = {}
    for key in (key for key in known & set(entry) if entry[key] is not None):
        try:
            values[key] = _READERS[key](str(entry[key]))
        except ValueError as error:
            wrong.append(f"“{key}”: {_told(error)}")
    if not isinstance(entry.get("prompt"), str):
        wrong.append("it has no “prompt”")
    return (None if wrong else PreviewPrompt(**values)), wrong


def _entries_of_toml(text: str) -> list[Any]:
    table = parse_toml(text)
    shared = dict(table.get("prompt", {}))
    subsets = shared.pop("subset", [])
    return [{**shared, **subset} for subset in subsets]


def _entries_of_json(text: str) -> list[Any]:
    entries = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError("a list of prompts is expected")
    return entries


def _read_entries(path: Path, text: str) -> list[tuple[str, PreviewPrompt | None, list[str]]]:
    """Return (where, prompt, what is wrong) for each entry; raises ValueError if unreadable."""
    if path.suffix.lower() not in (".toml", ".json"):
        lines = enumerate(text.splitlines(), 1)
        told = [(n, line) for n, line in lines if line.strip() and not line.startswith("#")]
        return [(f"line {n}", *parse_line(line)) for n, line in told]
    read = _entries_of_toml if path.suffix.lower() == ".toml" else _entries_of_json
    found = []
    for number, entry in enumerate(read(text), 1):
        if isinstance(entry, str):
            found.append((f"entry {number}", *parse_line(entry)))
        elif isinstance(entry, Mapping):
            found.append((f"entry {number}", *_from_mapping(entry)))
        else:
            found.append((f"entry {number}", None, ["it is neither text nor a table"]))
    return found


def read_prompts(path: Path) -> tuple[list[PreviewPrompt], list[Problem]]:
    """Read a prompt file (`.txt`, `.toml`, `.json`); every broken entry is one problem.

    The prompts are those that are right; with any problem, a job must not start.
    """

    def problem(message: str, hint: str = _HINT) -> Problem:
        return Problem(message, "sample_prompts", hint)

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return [], [problem(f"There is no prompt file {path}", "Choose an existing file.")]
    except UnicodeDecodeError:
        return [], [problem(f"{path.name} is not UTF-8 text", "Save it with UTF-8 encoding.")]
    except OSError as error:
        return [], [problem(f"{path} cannot be read: {error.strerror}", "Check the path.")]
    try:
        entries = _read_entries(path, text)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return [], [problem(f"{path.name} cannot be understood: {error}")]
    prompts = [prompt for _, prompt, _ in entries if prompt is not None]
    problems = [
        problem(f"{path.name}, {where}: {what}") for where, _, wrong in entries for what in wrong
    ]
    if not entries:
        problems.append(problem(f"{path.name} holds no prompt"))
    return prompts, problems


def resolved(prompt: PreviewPrompt, *, size: tuple[int, int], sampler: str) -> PreviewPrompt:
    """Fill in what the prompt leaves open: `size` is (width, height) in pixels."""
    return replace(
        prompt,
        width=prompt.width or size[0],
        height=prompt.height or size[1],
        sample_sampler=prompt.sample_sampler or sampler,
    )
