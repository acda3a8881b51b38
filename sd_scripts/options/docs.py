"""Writes docs/options.md and docs/compatibility.md from the options, and checks that they are up to
date.

Run as `python -m sd_scripts.options.docs --check` or `--write`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sd_scripts.files import write_atomic
from sd_scripts.options import compatibility
from sd_scripts.options.jobs import JOBS, Job, TrainingJob
from sd_scripts.options.later import LATER
from sd_scripts.options.network_table import NETWORKS
from sd_scripts.options.optimizer_table import OPTIMIZERS, Argument
from sd_scripts.options.schema import OptionSpec, group_titles, option_specs
from sd_scripts.options.sd_scripts_table import SCRIPTS_OF
from sd_scripts.options.words import applies_words, default_words, kind_words, limits_words

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "options.md"
COMPATIBILITY = DOCUMENT.with_name("compatibility.md")

_INTRODUCTION = """\
# Options

This file is made from the options themselves: `python -m sd_scripts.options.docs --write`.

Names and meanings are those of sd-scripts. An option stands in a TOML file (flat or in sections,
whose names do not matter), on the command line (`--name value`), or in the form. Empty means off or
automatic; 0 is a number like any other. A yes-or-no option is switched on by its name alone
(`--flip_aug`) and off by `--flip_aug false`; `--name=` with nothing after it empties an option that
the file gives.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _option(spec: OptionSpec) -> str:
    facts = [spec.tier, kind_words(spec), limits_words(spec), default_words(spec)]
    lines = [
        f"#### `{spec.name}`",
        "",
        f"**{spec.label}**: {'; '.join(f for f in facts if f)}.",
        "",
    ]
    theirs = "sd-scripts does not know it." if spec.name in _own() else ""
    lines.append(" ".join(part for part in (spec.help, applies_words(spec), theirs) if part))
    usual = (("Usual", spec.typical), ("Cost", spec.cost))
    if told := [f"{word}: {fact}" for word, fact in usual if fact]:
        lines += ["", " ".join(told)]
    if spec.carrier:
        lines += ["", f"In a TOML file it is written into `{spec.carrier}`."]
    if spec.old_names:
        lines += ["", f"Old name: {', '.join(f'`{name}`' for name in spec.old_names)}."]
    if spec.choice_help:
        lines += ["", *(f"- `{name}`: {text}" for name, text in spec.choice_help)]
    return "\n".join(lines)


@cache
def _own() -> frozenset[str]:
    """Return the options of trainings that are none of sd-scripts, not even inside a list of it."""
    trainings = [job_type for job_type in JOBS.values() if issubclass(job_type, TrainingJob)]
    specs = [spec for job_type in trainings for spec in option_specs(job_type)]
    return frozenset(
        spec.name
        for spec in specs
        if spec.name not in SCRIPTS_OF and spec.carrier not in SCRIPTS_OF
    )


def _arguments(title: str, arguments: Sequence[Argument]) -> str:
    rows = [
        f"| `{found.name}` | {found.kind} | `{found.default}` | {_cell(found.help)} |"
        for found in arguments
    ]
    return "\n".join(
        [f"#### {title}", "", "| name | type | default | |", "|---|---|---|---|", *rows]
    )


def _job(job_type: type[Job], told: set[tuple[str, str]]) -> list[str]:
    """Tell of a job's options; those that stand above word for word only by their names."""
    blocks = [f"## {job_type.title}: `{job_type.name}`", inspect.getdoc(job_type) or ""]
    for group, title in group_titles(job_type).items():
        texts = {s.name: _option(s) for s in option_specs(job_type) if s.group == group}
        known = [f"`{name}`" for name, text in texts.items() if (name, text) in told]
        blocks.append(f"### {title}")
        blocks += [text for name, text in texts.items() if (name, text) not in told]
        blocks += [f"As above: {', '.join(known)}."] if known else []
        told |= set(texts.items())
    return blocks


def document() -> str:
    """The whole text of docs/options.md."""
    blocks = [_INTRODUCTION.rstrip()]
    told: set[tuple[str, str]] = set()
    for job_type in JOBS.values():
        blocks += _job(job_type, told)
    blocks.append("## Arguments of optimizers (`optimizer_args`)")
    blocks += [_arguments(entry.name, entry.arguments) for entry in OPTIMIZERS.values()]
    blocks.append("## Arguments of networks (`network_args`)")
    blocks += [
        _arguments(entry.name, entry.arguments) for entry in NETWORKS.values() if entry.arguments
    ]
    later = ", ".join(f"`{row.name}`" for row in LATER.values() if not row.needless)
    needless = [f"- `{row.name}`: {row.hint}" for row in LATER.values() if row.needless]
    blocks += [
        "## Options of sd-scripts that are refused",
        "A file may hold them as long as they are off; otherwise the job is refused. Why, is told "
        f"in [compatibility.md](compatibility.md). {later}.",
        "## Options of sd-scripts that are not needed",
        "They are passed over with a warning.",
        "\n".join(needless),
    ]
    return "\n\n".join(blocks) + "\n"


def main(argv: Sequence[str]) -> int:
    """`--check`: 1 if a file is out of date; `--write`: bring them up to date."""
    documents = {DOCUMENT: document, COMPATIBILITY: compatibility.document}
    if argv == ["--write"]:
        for path, text in documents.items():
            write_atomic(path, text())
        return 0
    if argv == ["--check"]:
        stale = [path for path, text in documents.items() if _content(path) != text()]
        for path in stale:
            sys.stderr.write(
                f"{path} is out of date: run python -m sd_scripts.options.docs --write\n"
            )
        return 1 if stale else 0
    sys.stderr.write("usage: python -m sd_scripts.options.docs --check|--write\n")
    return 2


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
