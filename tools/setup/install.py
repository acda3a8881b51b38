"""Installs what the lock pins and the right PyTorch into .venv, resumable at any point."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tools.setup import environment as env
from tools.setup.console import SetupError, ask, clean_environment, run, say
from tools.setup.environment import Checkout, Stamp
from tools.setup.hardware import Hardware, detect
from tools.setup.torch_builds import PLAIN_BUILD, Choice, TorchBuild, choose, index_url

BASE_DISK_GB = 1.5
REACH_SECONDS = 5.0
GIB = 1024**3

REMEDIES = (  # (words in pip's log, what is wrong, what to do)
    (
        ("No space left on device", "not enough space on the disk"),
        "the disk is full.",
        "Free some space, or set TMPDIR to a bigger disk, and start again; set-up goes on.",
    ),
    (
        ("DO NOT MATCH THE HASHES", "Can't verify hashes"),
        "a downloaded file is not the one that was pinned.",
        "Try again; if it stays so, your package source alters files: use another one.",
    ),
    (
        (
            "Temporary failure in name resolution",
            "NewConnectionError",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "ProxyError",
            "Network is unreachable",
            "Connection broken",
        ),
        "the package index cannot be reached.",
        "Check the network and the proxy settings (HTTPS_PROXY), then start again; "
        "what is already there is kept.",
    ),
    (
        ("SSLError", "CERTIFICATE_VERIFY_FAILED"),
        "the connection to the package index is not trusted.",
        "Set the clock right, or tell pip your company's certificate (PIP_CERT).",
    ),
    (
        ("No matching distribution found",),
        "the package index has no fitting file for this system and Python.",
        "Use Python 3.11, 3.12 or 3.13 (64 bit), and a pip source that offers PyPI's files.",
    ),
)


@dataclass(frozen=True)
class Wishes:
    """What the caller asked for: extras to have, and the torch build by name (or None)."""

    extras: tuple[str, ...] = ()
    torch: str | None = None


def ensure_ready(
    checkout: Checkout, wishes: Wishes, look: Callable[[], Hardware] = detect
) -> Stamp:
    """Bring .venv to what the lock says; does nothing when it is. Return its stamp.

    `auto` as the torch build means: look at the hardware again. Raises `SetupError`.
    """
    if wishes.torch == "auto" and checkout.venv.exists():
        wishes = Wishes(wishes.extras, choose(look()).tag)
    if env.why_not_ready(checkout, wishes.extras, wishes.torch) is None:
        return _stamp_of(checkout)
    with env.only_one(checkout):
        reason = env.why_not_ready(checkout, wishes.extras, wishes.torch)
        if reason is None:  # the set-up we waited for did it
            return _stamp_of(checkout)
        say(f"Setting up ({reason}).")
        return _set_up(checkout, wishes, look)


def _stamp_of(checkout: Checkout) -> Stamp:
    stamp = env.read_stamp(checkout)
    assert stamp is not None
    assert stamp.finished, "a ready checkout has a finished stamp"
    return stamp


def _set_up(checkout: Checkout, wishes: Wishes, look: Callable[[], Hardware]) -> Stamp:
    check_python()
    old = env.read_stamp(checkout)
    hardware = look()
    choice = choose(hardware, wishes.torch)
    if wishes.torch is None and old is not None and old.torch_build != choice.tag:
        choice = choose(hardware, old.torch_build)  # chosen once, by hand or on other hardware
    defaults = ("8bit",) if choice.tag.startswith("cu") else ()
    kept = old.extras if old else defaults
    extras = env.with_implied((*kept, *wishes.extras))
    say(f"Hardware: {hardware.describe()}")
    say(f"PyTorch:  {checkout.torch_version()} for {choice.build.title} ({choice.reason})")
    for warning in choice.warnings:
        say(f"Note:     {warning}")
    aside = _prepare_venv(checkout, old)
    goal = Stamp(
        finished=False,
        lock=checkout.lock_hash(extras),
        python=_version_of(checkout),
        extras=extras,
        torch_build=choice.tag,
        torch_version=torch_installed(checkout) or "",
        place=os.fspath(checkout.venv),
    )
    env.write_stamp(checkout, goal)
    try:
        check_disk(checkout.root, choice.build, has_torch=bool(goal.torch_version))
        _install_locked(checkout, extras)
        version = _install_torch(checkout, choice, hardware.system)
        _confirm(checkout)
        env.put_on_path(checkout)
    except (SetupError, KeyboardInterrupt):
        _bring_back(checkout, aside)
        raise
    reached = replace(goal, finished=True, torch_version=version)
    env.write_stamp(checkout, reached)
    shutil.rmtree(put_aside(checkout), ignore_errors=True)
    say("Set-up is done.")
    return reached


def check_python() -> None:
    """Raise `SetupError` unless this Python is one that every pinned package supports."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise SetupError(
            f"this is Python {platform.python_version()}; 3.11, 3.12 or 3.13 is needed.",
            "Install one of them and start again; or name it: KOHYA_PYTHON=/path/to/python3.12",
        )
    if sys.maxsize < 2**32:
        raise SetupError("this Python is a 32-bit one.", "Install the 64-bit Python.")


def _prepare_venv(checkout: Checkout, old: Stamp | None) -> Path | None:
    """Make .venv usable: new, mended, or as it is. A moved one is put aside and its place told."""
    aside = None
    if checkout.venv.exists():
        moved = old is not None and old.place != os.fspath(checkout.venv)
        if moved and env.pip_works(checkout):
            aside = put_aside(checkout)
            if aside.exists():
                env.remove_venv(aside)
            checkout.venv.rename(aside)
        elif moved or not env.pip_works(checkout) or not _fits_python(checkout):
            env.remove_venv(checkout.venv)
    if not checkout.venv.exists():
        say("Making .venv …")
        env.make_venv(checkout)
        return aside
    interrupted = old is None or not old.finished
    if interrupted and (dropped := env.drop_damaged(checkout)):
        say(f"Half-installed before, so again: {', '.join(dropped)}")
        if not env.pip_works(checkout):
            env.remove_venv(checkout.venv)
            env.make_venv(checkout)
    return aside


def put_aside(checkout: Checkout) -> Path:
    """Return where a moved .venv waits until the new one is whole."""
    return checkout.root / ".venv-moved"


def _bring_back(checkout: Checkout, aside: Path | None) -> None:
    """After a failure, give a moved checkout its old .venv back: its Python still works."""
    if aside is not None and aside.exists():
        shutil.rmtree(checkout.venv, ignore_errors=True)
        aside.rename(checkout.venv)


def _fits_python(checkout: Checkout) -> bool:
    return _version_of(checkout).rpartition(".")[0] in ("3.11", "3.12", "3.13")


def _version_of(checkout: Checkout) -> str:
    code = "import platform; print(platform.python_version())"
    return ask([os.fspath(checkout.python), "-c", code], env=clean_environment()).stdout.strip()


def check_disk(folder: Path, build: TorchBuild, *, has_torch: bool) -> None:
    """Raise `SetupError` when the disk cannot hold what is about to come."""
    needed = BASE_DISK_GB + (0 if has_torch else build.disk_gb)
    free = shutil.disk_usage(folder).free / GIB
    if free < needed:
        raise SetupError(
            f"{free:.1f} GB are free on the disk of {folder}; set-up needs {needed:.1f} GB.",
            "Free some space or put the project on a bigger disk, then start again.",
        )


def pip(checkout: Checkout, *arguments: str) -> None:
    """Run the venv's pip; raises `SetupError` with a remedy read from its log when it fails."""
    log = checkout.log_file
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    command = [os.fspath(checkout.python), "-m", "pip", "install", "--log", os.fspath(log)]
    command += ["--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    if not sys.stdout.isatty():
        command += ["-qq", "--progress-bar", "off"]  # a log needs no bar; errors are still told
    code = run([*command, *arguments], clean_environment())
    if code != 0:
        raise explain_pip(log, code)


def explain_pip(log: Path, code: int) -> SetupError:
    """Turn a failed pip run into what is wrong and what to do."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for words, what, remedy in REMEDIES:
        if any(word in text for word in words):
            return SetupError(f"{what} The details are in {log}", remedy)
    return SetupError(
        f"pip ended with code {code}. The details are in {log}",
        "Start again; set-up goes on from here. If it stays so, delete .venv and start again.",
    )


def _install_locked(checkout: Checkout, extras: tuple[str, ...]) -> None:
    """Install every pinned package: by hash, as built files only, and nothing that isn't named."""
    say(f"Step 1 of 2: packages ({', '.join(('base', *extras))}) …")
    files = [part for file in checkout.lock_files(extras) for part in ("-r", os.fspath(file))]
    pip(checkout, "--no-deps", "--require-hashes", "--only-binary", ":all:", *files)


def _install_torch(checkout: Checkout, choice: Choice, system: str) -> str:
    """Install PyTorch from its own index, else from the configured source; return its version."""
    pinned = checkout.torch_version()
    installed = torch_installed(checkout)
    if installed is not None and installed.partition("+")[0] != pinned:
        installed = None  # another version is replaced, whatever its build
    if installed is not None and build_of(installed, system) == choice.tag:
        return installed
    url = index_url(choice.tag)
    if url is not None and reachable(f"{url}/torch/"):
        say(f"Step 2 of 2: PyTorch, about {choice.build.download_gb:g} GB from {url} …")
        wanted = f"torch=={pinned}+{choice.tag}"
        pip(checkout, "--only-binary", ":all:", "--index-url", url, wanted)
    else:
        _install_plain_torch(checkout, choice, system, installed)
    version = torch_installed(checkout)
    if version is None:
        raise SetupError("pip installed no PyTorch.", "Start again.")
    return version


def _install_plain_torch(
    checkout: Checkout, choice: Choice, system: str, installed: str | None
) -> None:
    """Install PyTorch from the configured source, unless that has nothing better than is there."""
    offered = offered_build(checkout, system)
    url = index_url(choice.tag)
    if installed is not None and offered in (None, build_of(installed, system)):
        say(f"Step 2 of 2: {url} cannot be reached; PyTorch {installed} is kept.")
        return
    say(f"Step 2 of 2: PyTorch; {plain_source_line(choice, offered, system)}")
    plain = ["--only-binary", ":all:", f"torch=={checkout.torch_version()}"]
    if installed is not None:  # pip takes another build of the same version for the right one
        pip(checkout, "--force-reinstall", "--no-deps", *plain)
    pip(checkout, *plain)


def build_of(version: str, system: str) -> str:
    """Return the build that a version such as 2.13.0+cpu names; without a name, the plain one."""
    return version.partition("+")[2] or PLAIN_BUILD.get(system, "cpu")


def plain_source_line(choice: Choice, offered: str | None, system: str) -> str:
    """Say what comes, and how big, when PyTorch's own index is not the source.

    `offered` is the build that the configured source has, None where pip could not tell.
    """
    size = f"about {choice.build.download_gb:g} GB"
    url = index_url(choice.tag)
    if url is None:
        return f"{size} from the package index …"
    because = f"{url} cannot be reached, so it comes from your package index"
    tag = offered or PLAIN_BUILD.get(system, "cpu")
    if tag == choice.tag:
        return f"{because} ({size}) …"
    other = Choice(tag, "offered").build
    what = f"the build for {other.title}, about {other.download_gb:g} GB"
    if choice.tag == "cpu":
        return f"{because}: {what}; bigger than needed, it works on the CPU too …"
    return (
        f"{because}: {what}. It may not use your card; once {url} can be reached, "
        f"run set-up with --torch {choice.tag} …"
    )


def offered_build(checkout: Checkout, system: str) -> str | None:
    """Ask pip, without installing, which build the configured source gives; None if not told."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [os.fspath(checkout.python), "-m", "pip", "install", "--dry-run", "--quiet"]
        command += ["--no-deps", "--ignore-installed", "--only-binary", ":all:", "--no-input"]
        command += ["--report", os.fspath(report), f"torch=={checkout.torch_version()}"]
        if not ask(command, timeout=60, env=clean_environment()).ok:
            return None
        try:
            found = json.loads(report.read_text(encoding="utf-8"))["install"][0]["metadata"]
        except (OSError, ValueError, LookupError):
            return None  # an older pip's report; the size is then told from our table
    return build_of(str(found["version"]), system)


def torch_installed(checkout: Checkout) -> str | None:
    """Return the version of PyTorch in .venv, with its build, or None."""
    found = sorted(env.site_packages(checkout.venv).glob("torch-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else None


def reachable(url: str, seconds: float = REACH_SECONDS) -> bool:
    """Say whether an index answers within a few seconds (name look-up and proxies included)."""
    answers: list[bool] = []

    def look() -> None:
        try:
            agent = {"User-Agent": "kohya-gui"}
            request = urllib.request.Request(url, method="HEAD", headers=agent)
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                answers.append(answer.status < 400)
        except (OSError, ValueError, http.client.HTTPException):  # HTTP errors are OSErrors
            answers.append(False)

    worker = threading.Thread(target=look, daemon=True)
    worker.start()
    worker.join(seconds + 1)
    return bool(answers and answers[0])


def _confirm(checkout: Checkout) -> None:
    """Check that PyTorch loads; a broken one is told now, not by the first training."""
    code = "import torch; print(torch.__version__)"
    answer = ask([os.fspath(checkout.python), "-c", code], 300, clean_environment())
    if answer.ok:
        return
    lines = answer.stderr.strip().splitlines() or ["no message"]
    hint = "Run `doctor` for details."
    if platform.system() == "Windows" and "DLL" in answer.stderr:
        hint = "Install Microsoft's Visual C++ Redistributable (x64), then start again."
    raise SetupError(f"PyTorch was installed but does not load: {lines[-1]}", hint)
