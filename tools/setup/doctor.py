"""Says what is installed, what hardware is seen, what does not fit, and how to mend it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools.setup import browser
from tools.setup import environment as env
from tools.setup.console import EXIT_OK, EXIT_USER, SetupError, ask, clean_environment, say
from tools.setup.environment import Checkout, Stamp
from tools.setup.hardware import Hardware, detect
from tools.setup.torch_builds import BUILDS, Choice, choose, driver_major

LOW_DISK_GB = 10
OPTIONAL = {
    "8bit": "the 8-bit optimizers, such as AdamW8bit (bitsandbytes)",
    "xformers": "xformers attention, instead of PyTorch's own",
    "trackers": "TensorBoard logs",
    "optimizers": "more optimizers (D-Adaptation, schedule-free and others)",
    "keyring": "secrets kept in the system's keyring (keyring)",
}


@dataclass(frozen=True)
class Finding:
    """One thing to mend, or worth knowing: what, the remedy, and what it is about."""

    subject: str
    message: str
    remedy: str
    level: Literal["mend", "note"] = "mend"


@dataclass
class Report:
    """All that the doctor saw."""

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.level == "note" for finding in self.findings)

    def mend(self, subject: str, message: str, remedy: str) -> None:
        self.findings.append(Finding(subject, message, remedy))

    def note(self, subject: str, message: str, remedy: str) -> None:
        self.findings.append(Finding(subject, message, remedy, "note"))

    def as_json(self) -> str:
        findings = [asdict(finding) for finding in self.findings]
        return json.dumps({"ok": self.ok, "facts": self.facts, "findings": findings}, indent=2)


def examine(checkout: Checkout, hardware: Hardware | None = None) -> Report:
    """Look at Python, hardware, disk, .venv, PyTorch, extras and the browser; change nothing."""
    report = Report()
    hardware = hardware or detect()
    check_python(report)
    check_folder(report, checkout)
    choice = check_hardware(report, hardware)
    stamp = check_venv(report, checkout)
    if stamp is not None:
        check_packages(report, checkout, stamp)
        check_torch(report, ask_torch(checkout), hardware, choice)
        check_extras(report, stamp, hardware)
    check_browser(report, checkout, stamp)
    return report


def check_python(report: Report) -> None:
    version = platform.python_version()
    report.facts["python"] = {"version": version, "program": sys.executable}
    report.facts["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        remedy = "Install Python 3.11, 3.12 or 3.13, or name one: KOHYA_PYTHON=/path/to/python"
        report.mend("python", f"Python {version} is too {_age()}.", remedy)
    if sys.maxsize < 2**32:
        report.mend("python", "This Python is a 32-bit one.", "Install the 64-bit Python.")


def _age() -> str:
    return "old" if sys.version_info < (3, 11) else "new"


def check_folder(report: Report, checkout: Checkout) -> None:
    """Check that the checkout can be written and its disk has room."""
    free = shutil.disk_usage(checkout.root).free / 1024**3
    report.facts["checkout"] = os.fspath(checkout.root)
    report.facts["free_disk_gb"] = round(free, 1)
    if free < LOW_DISK_GB:
        remedy = "Free some space: models, caches and saved states need several GB each."
        report.mend("disk", f"Only {free:.1f} GB are free on {checkout.root}.", remedy)
    try:
        with tempfile.TemporaryFile(dir=checkout.root):
            pass
    except OSError as error:
        remedy = "Put the project into a folder of your own."
        report.mend("folder", f"{checkout.root} cannot be written: {error}", remedy)


def check_hardware(report: Report, hardware: Hardware) -> Choice | None:
    """Report the graphics hardware and the build that suits it; None where no build does."""
    report.facts["hardware"] = {"text": hardware.describe(), **hardware.as_dict()}
    if hardware.trouble:
        remedy = "Install or update the driver from its maker, then restart the computer."
        report.mend("driver", f"A {hardware.vendor} card is there, but {hardware.trouble}.", remedy)
    try:
        choice = choose(hardware)
    except SetupError as error:
        report.mend("hardware", error.message, error.remedy)
        return None
    report.facts["fitting_torch_build"] = choice.tag
    for warning in () if hardware.trouble else choice.warnings:
        report.note("hardware", warning, "See docs/gpu-checklist.md.")
    return choice


def check_venv(report: Report, checkout: Checkout) -> Stamp | None:
    """Check .venv against its stamp; return the stamp if the packages in it can be asked."""
    reason = env.why_not_ready(checkout, (), None)
    report.facts["set_up"] = reason is None
    again = f"Start {starter()} again."
    if reason == "first start":
        report.mend("set-up", "The project is not set up yet.", f"Start {starter()}.")
        return None
    if reason is not None:
        report.mend("set-up", f".venv is not as it should be: {reason}.", again)
    stamp = env.read_stamp(checkout)
    if stamp is None or not stamp.finished or not checkout.python.exists():
        return None
    report.facts["installed"] = {
        "python": stamp.python,
        "extras": list(stamp.extras),
        "torch_build": stamp.torch_build,
    }
    return stamp


def starter() -> str:
    """Return the command that sets up on this system."""
    return "setup.bat" if os.name == "nt" else "./setup.sh"


def check_packages(report: Report, checkout: Checkout, stamp: Stamp) -> None:
    """Compare what is installed with the lock."""
    files = [os.fspath(file) for file in checkout.lock_files(stamp.extras)]
    answer = _probe(checkout, "packages", *files)
    if isinstance(answer, str):
        report.mend("packages", f"The packages in .venv cannot be read: {answer}", _redo())
        return
    report.facts["packages"] = answer
    for key, word in (("missing", "missing"), ("different", "of another version")):
        if answer[key]:
            what = ", ".join(answer[key])
            report.mend("packages", f"Packages are {word}: {what}.", _redo())


def _redo() -> str:
    return f"Delete the folder .venv and start {starter()} again."


def ask_torch(checkout: Checkout) -> dict[str, Any] | str:
    """Return what PyTorch says of itself, or why it does not load."""
    return _probe(checkout, "torch")


def _probe(checkout: Checkout, *arguments: str) -> dict[str, Any] | str:
    probe = Path(__file__).with_name("probe.py")
    command = [os.fspath(checkout.python), os.fspath(probe), *arguments]
    answer = ask(command, timeout=300, env=clean_environment())
    if not answer.ok:
        lines = answer.stderr.strip().splitlines() or [f"exit code {answer.code}"]
        return lines[-1]
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def check_torch(
    report: Report, facts: dict[str, Any] | str, hardware: Hardware, choice: Choice | None
) -> None:
    """Compare PyTorch's build with the driver and the cards."""
    if isinstance(facts, str):
        report.mend("torch", f"PyTorch does not load: {facts}", _redo())
        return
    report.facts["torch"] = facts
    remedy = f"Run: {starter()} install --torch {choice.tag}" if choice else _redo()
    if hardware.vendor == "nvidia" and not hardware.trouble:
        _check_cuda(report, facts, hardware, remedy)
    elif hardware.vendor == "amd" and choice and choice.tag.startswith("rocm"):
        if not facts["hip"]:
            report.mend("torch", f"PyTorch {facts['version']} is not the build for AMD.", remedy)
        elif not facts["devices"]:
            advice = "Check that you are in the groups 'render' and 'video'."
            report.mend("torch", "PyTorch's ROCm build sees no card.", advice)
    elif hardware.vendor == "apple" and not facts["mps"]:
        report.mend("torch", "PyTorch cannot use this Mac's GPU.", "Update macOS to 14 or newer.")
    for device in facts["devices"]:
        _check_kernels(report, facts, device, remedy)


def _check_cuda(report: Report, facts: dict[str, Any], hardware: Hardware, remedy: str) -> None:
    if not facts["cuda"]:
        text = f"PyTorch {facts['version']} is a build without CUDA; the card is not used."
        report.mend("torch", text, remedy)
        return
    tag = "cu" + str(facts["cuda"]).replace(".", "")
    build, driver = BUILDS.get(tag), driver_major(hardware.driver)
    need = build.min_driver if build else None
    if need is not None and driver is not None and driver < need:
        text = (
            f"The driver {hardware.driver} is too old for PyTorch's CUDA {facts['cuda']} "
            f"(needs {need} or newer)."
        )
        report.mend("driver", text, f"Update the NVIDIA driver. Or: {remedy}")
    elif not facts["devices"]:
        text = "PyTorch has CUDA, but sees no card."
        report.mend("torch", text, "Restart the computer; then check the driver with nvidia-smi.")


def _check_kernels(
    report: Report, facts: dict[str, Any], device: dict[str, Any], remedy: str
) -> None:
    if facts["hip"]:
        if device["gfx"] and device["gfx"] not in facts["arch_list"]:
            text = (
                f"PyTorch {facts['version']} has no kernels for {device['name']} ({device['gfx']})."
            )
            report.mend("kernels", text, "See docs/gpu-checklist.md, AMD.")
        return
    major, minor = device["capability"]
    if not has_kernels(facts["arch_list"], (major, minor)):
        text = (
            f"PyTorch {facts['version']} has no kernels for {device['name']} "
            f"(sm_{major}{minor}; it has {', '.join(facts['arch_list'])})."
        )
        report.mend("kernels", text, remedy)


def has_kernels(arch_list: list[str], capability: tuple[int, int]) -> bool:
    """Say whether a build runs on a card: kernels of its generation, or PTX of an older one.

    An sm_86 kernel runs on 8.6 and 8.9, not on 9.0; compute_90 (PTX) runs on everything newer.
    """
    for arch in arch_list:
        kind, _, number = arch.partition("_")
        digits = number.rstrip("af")
        if not digits.isdigit():
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return False


def check_extras(report: Report, stamp: Stamp, hardware: Hardware) -> None:
    """Name the extras that are not installed; none is needed to train."""
    for extra, gives in OPTIONAL.items():
        if extra in stamp.extras or (extra == "xformers" and hardware.vendor != "nvidia"):
            continue
        how = f"{starter()} install --extras {extra}"
        report.note("extras", f"Not installed: {gives}.", f"If you want it: {how}")


def check_browser(report: Report, checkout: Checkout, stamp: Stamp | None) -> None:
    """Look for the browser that the tests drive; a fault only where the test tools are in."""
    with_tests = stamp is not None and "test" in stamp.extras
    found = browser.find_browser(checkout.python if with_tests else None)
    report.facts["test_browser"] = found
    if found is None:
        remedy = "Install Chromium or Chrome; `test` tries to bring one."
        tell = report.mend if with_tests else report.note
        tell("browser", "There is no browser for the tests of the pages.", remedy)


def show(report: Report) -> None:
    """Print the report for a person."""
    facts = report.facts
    say(f"Python    {facts['python']['version']} ({facts['python']['program']})")
    say(f"System    {facts['system']}")
    say(f"Hardware  {facts['hardware']['text']}")
    say(f"Disk      {facts['free_disk_gb']} GB free for {facts['checkout']}")
    if "torch" in facts:
        torch = facts["torch"]
        cards = ", ".join(device["name"] for device in torch["devices"])
        say(f"PyTorch   {torch['version']}, trains on {cards or _other_device(torch)}")
    if "installed" in facts:
        say(f"Extras    {', '.join(facts['installed']['extras']) or 'none'}")
    say(f"Browser   {facts['test_browser'] or 'none found'} (only the tests need it)")
    for title, level in (("To mend", "mend"), ("Good to know", "note")):
        chosen = [finding for finding in report.findings if finding.level == level]
        if chosen:
            say(f"\n{title}:")
        for finding in chosen:
            say(f"  - {finding.message}\n    → {finding.remedy}")
    if report.ok:
        say("\nEverything that training needs is in order.")


def _other_device(torch: dict[str, Any]) -> str:
    return "the Apple GPU" if torch["mps"] else "the CPU"


def main(checkout: Checkout, *, as_json: bool) -> int:
    """Examine and tell; exit code 2 when something has to be mended."""
    report = examine(checkout)
    if as_json:
        say(report.as_json())
    else:
        show(report)
    return EXIT_OK if report.ok else EXIT_USER
