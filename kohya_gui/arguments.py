"""The flags of the GUI: what they mean, which go together, and which port is free."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from kohya_gui.jobs.vault import PASSWORD, in_environment, secret
from sd_scripts.errors import Problem, UserError

DEFAULT_HOST: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"
FIRST_PORT: Final = 7860
NUM_PORTS: Final = 40
USERNAME_VARIABLE: Final = "KOHYA_GUI_USERNAME"
WORKSPACE_VARIABLE: Final = "KOHYA_GUI_WORKSPACE"


@dataclass(frozen=True)
class Login:
    """Name and password; printed, it does not show the password."""

    name: str
    password: SecretStr

    def is_same(self, name: str, password: str) -> bool:
        """Compare in a time that does not tell where they differ."""
        same_name = secrets.compare_digest(name.encode(), self.name.encode())
        right = self.password.get_secret_value()
        same_password = secrets.compare_digest(password.encode(), right.encode())
        return same_name and same_password


@dataclass(frozen=True)
class Arguments:
    """Checked flags. `port` is free at the moment of checking."""

    host: str
    port: int
    port_note: str | None
    login: Login | None
    share: bool
    inbrowser: bool
    language: str | None
    workspace: Path | None

    @property
    def is_open_to_others(self) -> bool:
        """Tell whether somebody at another machine can reach the page."""
        return self.share or not is_loopback(self.host)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kohya_gui",
        description="Open the local web page in which Stable Diffusion models are fine-tuned.",
        epilog=(
            "Runs and the queue without the page: python -m kohya_gui runs --help (also show, "
            "submit, queue, follow, stop, save, sample, pause, continue, secret). "
            f"The login may also come from the environment: {USERNAME_VARIABLE} and {PASSWORD}; "
            "the password may be kept in the system's keyring, too (see secret --help). A "
            "password given as a flag is seen by everybody who may list this machine's processes."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--listen",
        nargs="?",
        const=EVERYWHERE,
        default=DEFAULT_HOST,
        metavar="ADDRESS",
        help="let other machines open the page, at this address (alone: at all addresses of this "
        "machine); needs a login. Default: only this machine, 127.0.0.1",
    )
    parser.add_argument(
        "--server_port",
        type=int,
        metavar="PORT",
        help=f"port of the page; default: the first free one from {FIRST_PORT} on",
    )
    parser.add_argument("--inbrowser", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--share",
        action="store_true",
        help="make a public link, by Gradio's service; needs a login",
    )
    parser.add_argument(
        "--headless", action="store_true", help="never open a browser (machines without a screen)"
    )
    parser.add_argument("--username", metavar="NAME", help="name to log in with")
    parser.add_argument("--password", metavar="PASSWORD", help="password to log in with")
    parser.add_argument("--language", metavar="CODE", help="language of the page, such as en")
    parser.add_argument(
        "--workspace",
        metavar="FOLDER",
        help=f"folder for runs, drafts and settings (or the variable {WORKSPACE_VARIABLE})",
    )
    return parser


def parse_arguments(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Arguments:
    """Return checked flags. Raises `UserError` with everything wrong; `--help` exits with 0."""
    variables = os.environ if environment is None else environment
    flags = _parser().parse_args(argv)
    username = flags.username or variables.get(USERNAME_VARIABLE) or None
    password = SecretStr(flags.password) if flags.password else None
    password = password or in_environment(PASSWORD, variables)
    if username and password is None:
        password = secret(PASSWORD, variables)
    host = str(flags.listen).strip("[]")
    problems = [*_login_problems(host, flags.share, username, password)]
    port, note = 0, None
    try:
        port, note = choose_port(host, flags.server_port)
    except UserError as error:
        problems.extend(error.problems)
    if problems:
        raise UserError.of(problems)
    folder = flags.workspace or variables.get(WORKSPACE_VARIABLE)
    return Arguments(
        host=host,
        port=port,
        port_note=note,
        login=Login(username, password) if username and password else None,
        share=flags.share,
        inbrowser=flags.inbrowser and not flags.headless,
        language=flags.language,
        workspace=Path(folder).expanduser().absolute() if folder else None,
    )


def _login_problems(
    host: str, share: bool, username: str | None, password: SecretStr | None
) -> list[Problem]:
    hint = (
        f"Give --username and --password, or set {USERNAME_VARIABLE} and {PASSWORD} "
        "(then the password is not in the list of processes)."
    )
    if bool(username) != bool(password):
        missing = "password" if username else "username"
        message = f"A login needs a name and a password; the {missing} is missing."
        return [Problem(message, option=missing, hint=hint)]
    if username:
        return []
    if share:
        message = "--share makes the page public: anybody with the link could use this machine."
        return [Problem(f"{message} Without a login it is refused.", "share", hint)]
    if not is_loopback(host):
        message = (
            f"--listen {host} opens the page to other machines. Without a login it is refused."
        )
        return [Problem(message, option="listen", hint=hint)]
    return []


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`; a name counts by what it resolves to."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass  # a name: look it up
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(
        ipaddress.ip_address(str(address[4][0]).split("%")[0]).is_loopback for address in found
    )


def _try_port(host: str, port: int) -> OSError | None:
    """Bind and let go; return why that failed, or None when the port is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def choose_port(host: str, asked: int | None) -> tuple[int, str | None]:
    """Return a free port and, when it is not the usual one, a sentence about it.

    A port that was asked for is never changed. Raises `UserError` when it is taken, forbidden or
    out of range, when the address is none of this machine's, and when no port is free.
    """
    if asked is not None:
        if not 1 <= asked <= 65535:
            raise UserError(
                f"--server_port {asked} is no port.",
                option="server_port",
                hint="Choose a number from 1024 to 65535.",
            )
        if (error := _try_port(host, asked)) is None:
            return asked, None
        raise _port_error(host, asked, error)
    for port in range(FIRST_PORT, FIRST_PORT + NUM_PORTS):
        error = _try_port(host, port)
        if error is None:
            usual = port == FIRST_PORT
            note = f"Port {FIRST_PORT} is in use (perhaps by another window of this program)."
            return port, None if usual else f"{note} Using port {port}."
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise _port_error(host, port, error)
    raise UserError(
        f"The ports {FIRST_PORT} to {FIRST_PORT + NUM_PORTS - 1} are all in use.",
        option="server_port",
        hint="Close what is no longer needed, or choose another port with --server_port.",
    )


def _port_error(host: str, port: int, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"Port {port} is in use: another program (perhaps this one, in another window) "
            "answers there.",
            option="server_port",
            hint="Close it, or choose another port with --server_port, or leave the flag away to "
            "get the next free one.",
        )
    if error.errno == errno.EACCES:
        return UserError(
            f"Port {port} may not be opened by this user.",
            option="server_port",
            hint="Choose a number from 1024 on.",
        )
    return UserError(
        f"The address {host} cannot be used: {error.strerror or error}.",
        option="listen",
        hint="Give an address of this machine, or --listen alone for all of them.",
    )
