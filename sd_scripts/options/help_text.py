"""The text of --help: every option under its group, wrapped, with tier, default and range."""

from __future__ import annotations

import inspect
import shutil
import textwrap

from sd_scripts.options.jobs import Job
from sd_scripts.options.schema import OptionSpec, group_titles, option_specs
from sd_scripts.options.words import applies_words, default_words, limits_words, placeholder

OWN_FLAGS: dict[str, tuple[str, str]] = {
    "config_file": (
        "FILE",
        "TOML file with options; .toml is added if missing. What is given here on the command "
        "line wins over it.",
    ),
    "check_only": (
        "",
        "Checks everything that can be known beforehand, says what would be done, and ends.",
    ),
    "print_config": ("", "Prints the complete resolved TOML and ends."),
    "run_dir": ("FOLDER", "Folder of this run. Without it, one is made beside output_dir."),
    "help": ("", "Shows this text."),
}
"""Flags of the command line itself: what stands for the value (none: a switch), and help."""

_HOW_TO = (
    "A yes-or-no option is switched on by its name alone (--flip_aug) and off by --flip_aug false. "
    "An option given in the file is emptied with --name= and nothing after it. "
    "[basic] options are the ones to look at first; [expert] ones seldom need a change."
)
_SHORTEST, _LONGEST = 60, 100


def _paragraph(text: str, width: int, indent: int) -> str:
    margin = " " * indent
    return textwrap.fill(
        text,
        width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _option(spec: OptionSpec, width: int) -> str:
    facts = [f"[{spec.tier}]", default_words(spec), limits_words(spec)]
    head = f"  --{spec.name} {placeholder(spec)}".rstrip()
    tail = "  ".join(fact for fact in facts if fact)
    gap = "  " if len(head) + len(tail) + 2 <= width else "\n      "
    lines = [f"{head}{gap}{tail}"]
    told = [f"{spec.label}.", spec.help, applies_words(spec)]
    lines.append(_paragraph(" ".join(part for part in told if part), width, 6))
    if spec.choice_help:
        lines += [_paragraph(f"{name}: {text}", width, 8) for name, text in spec.choice_help]
    elif spec.choices:
        lines.append(_paragraph(f"Choices: {', '.join(spec.choices)}", width, 6))
    return "\n".join(lines)


def _what_first(job_type: type[Job]) -> str:
    """What stands at the beginning of a usage line."""
    if not job_type.positional:
        return "--config_file job.toml "
    return f"[{job_type.positional}] [--config_file job.toml] "


def help_text(job_type: type[Job], prog: str, width: int | None = None) -> str:
    """The whole help of a job's command line, `width` characters wide (default: the terminal)."""
    columns = width or shutil.get_terminal_size().columns
    width = max(_SHORTEST, min(_LONGEST, columns))
    blocks = [
        f"Usage: {prog} {_what_first(job_type)}[--option value ...]",
        _paragraph(inspect.getdoc(job_type) or "", width, 0),
        _paragraph(_HOW_TO, width, 0),
        "This command",
    ]
    for name, (value, text) in OWN_FLAGS.items():
        blocks.append(f"  --{name} {value}".rstrip() + "\n" + _paragraph(text, width, 6))
    titles = group_titles(job_type)
    shown_groups: set[str] = set()
    for spec in option_specs(job_type):
        if spec.group not in shown_groups:
            shown_groups.add(spec.group)
            blocks.append(f"{titles[spec.group]}\n{'-' * len(titles[spec.group])}")
        blocks.append(_option(spec, width))
    return "\n\n".join(blocks) + "\n"
