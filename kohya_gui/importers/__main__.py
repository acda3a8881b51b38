"""`python -m kohya_gui.importers FILE [--out job.toml]`: old settings as a job, told in words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kohya_gui.importers.opening import report_of_file
from kohya_gui.importers.report import Report
from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.for_sd_scripts import job_for_sd_scripts
from sd_scripts.options.toml_file import job_to_toml, values_to_toml
from sd_scripts.options.values import job_warnings, replace_values


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kohya_gui.importers",
        description="Reads settings of kohya_ss (.json), of sd-scripts (.toml) or those told in a "
        "trained .safetensors file, says what becomes of each, and writes them as a job.",
    )
    parser.add_argument("file", type=Path, help="the file with the settings")
    parser.add_argument("--out", type=Path, help="write the job to this TOML file")
    parser.add_argument("--replace", action="store_true", help="write it even if it is there")
    parser.add_argument(
        "--for_sd_scripts", action="store_true", help="write it for sd-scripts instead"
    )
    return parser.parse_args(argv)


def _tell(text: str) -> None:
    sys.stdout.write(text)


def _write(report: Report, arguments: argparse.Namespace) -> None:
    """Write the job, and beside it the preview prompts that stood in the settings."""
    out: Path = arguments.out
    files, changes = {out: ""}, {}
    if report.prompts:
        prompts = out.with_name(f"{out.stem}-prompts.txt")
        changes = {"sample_prompts": str(prompts.absolute())}
        files[prompts] = report.prompts
    files[out] = _text(report, changes, for_sd_scripts=arguments.for_sd_scripts)
    there = [path for path in files if path.exists()]
    if there and not arguments.replace:
        raise UserError(
            f"{', '.join(map(str, there))} is there already",
            option="out",
            hint="choose another name, or add --replace",
        )
    for path, text in reversed(files.items()):
        write_atomic(path, text)
        unfinished = ", to be completed" if report.job is None and path == out else ""
        _tell(f"Written{unfinished}: {path}\n")


def _text(report: Report, changes: Mapping[str, object], *, for_sd_scripts: bool) -> str:
    if report.job is None:
        assert report.job_type is not None, "nothing to complete"
        missing = "".join(f"# To be mended: {' '.join(why.split())}\n" for why in report.refused)
        return f"{missing}\n{values_to_toml(report.job_type, {**report.values, **changes})}"
    job = replace_values(report.job, changes)
    if not for_sd_scripts:
        return job_to_toml(job, only_changed=True)
    found = job_for_sd_scripts(job)
    for heading, told in (("Left out", found.left_out), ("To be known", found.notes)):
        if told:
            lines = (f"  - {name}: {words}\n" for name, words in told.items())
            _tell(f"{heading}:\n{''.join(lines)}\n")
    return found.text


def _wants_file(report: Report, arguments: argparse.Namespace) -> bool:
    """Tell whether to write: a job, or what settings without model or pictures say of one."""
    if arguments.out is None:
        return False
    return report.job is not None or not (report.job_type is None or arguments.for_sd_scripts)


def main(argv: Sequence[str]) -> int:
    """Run the command; 0 when there is a job, 2 when it is refused, has to be completed, or cannot
    be written."""
    arguments = _arguments(argv)
    try:
        report = report_of_file(arguments.file)
        _tell(report.words())
        for warning in job_warnings(report.job) if report.job is not None else ():
            if not (report.prompts and "sample_prompts" in (warning.option or "")):
                _tell(f"\nNote: {warning}\n")
        if _wants_file(report, arguments):
            _tell("\n")
            _write(report, arguments)
    except UserError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return EXIT_USER
    except OSError as error:
        sys.stderr.write(f"{error.filename or arguments.out}: {error.strerror or error}\n")
        return EXIT_USER
    return EXIT_OK if report.job is not None else EXIT_USER


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
