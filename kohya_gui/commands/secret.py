"""The command `secret`: list, keep and forget secrets in the system's keyring; shows none."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping

from pydantic import SecretStr

from kohya_gui.jobs import vault
from sd_scripts.errors import EXIT_OK


def run_secret(flags: argparse.Namespace) -> int:
    """Do what the flags say; return the exit code. Raises `UserError`."""
    if flags.keep:
        vault.keep(flags.keep, _asked(flags.keep))
        return _tell(flags, {"kept": flags.keep}, f"{flags.keep} is kept in the keyring.")
    if flags.forget:
        found = vault.forget(flags.forget)
        words = "was taken out of the keyring" if found else "was not in the keyring"
        return _tell(flags, {"forgotten": found}, f"{flags.forget} {words}.")
    keyring = vault.look_at_keyring()
    rows = [{"name": name, "where": _where(name, keyring)} for name in vault.SECRETS]
    lines = [f"{row['name']}: {row['where']} ({vault.SECRETS[row['name']]})" for row in rows]
    ready = {
        "ready": "The keyring is ready: secret --keep NAME puts a secret into it.",
        "missing": f"The keyring needs a package: {vault.KEYRING_COMMAND}.",
        "silent": "The keyring does not answer: log in to the desktop, or unlock it.",
        "closed": f"No keyring here ({keyring.reason}): set variables of the environment.",
    }
    told = {"keyring": keyring.state, "secrets": rows}
    return _tell(flags, told, "\n".join([*lines, ready[keyring.state]]))


def _where(name: str, keyring: vault.Keyring) -> str:
    if vault.in_environment(name) is not None:
        return "environment"
    if keyring.state == "silent":
        return "unknown"
    return "keyring" if vault.secret(name) else "nowhere"


def _asked(name: str) -> SecretStr:
    """Read a secret without showing it; from another program, the first line of its output."""
    if sys.stdin.isatty():
        return SecretStr(getpass.getpass(f"{name}: "))
    return SecretStr(sys.stdin.readline(vault.LONGEST).rstrip("\r\n"))


def _tell(flags: argparse.Namespace, told: Mapping[str, object], words: str) -> int:
    print(json.dumps(told, ensure_ascii=False, indent=2) if flags.json else words, flush=True)
    return EXIT_OK
