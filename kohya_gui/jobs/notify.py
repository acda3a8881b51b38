"""Tell another program when a run has ended: a post to an address of the user's own."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.jobs.told import run_told
from kohya_gui.jobs.vault import PATIENCE_SECONDS, WEBHOOK, WEBHOOK_TOKEN, secret
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder

TIMEOUT_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 300.0
"""After so long a keyring that did not answer is asked again: it may open a window each time."""
_CLAIM: Final = "told"


def webhook_address(setting: str, variables: Mapping[str, str] | None = None) -> SecretStr | None:
    """Return where to post: the secret address, else the setting's; None for nowhere.

    Raises `UserError` if the keyring is shut.
    """
    found = secret(WEBHOOK, variables)
    return found or (SecretStr(setting.strip()) if setting.strip() else None)


def wrong_address(address: str) -> bool:
    """Tell whether an address is none that can be posted to."""
    try:
        parts = urlsplit(address)
        return parts.scheme not in ("http", "https") or not parts.hostname
    except ValueError:
        return True


def ended_message(run: RunSummary) -> dict[str, Any]:
    """Return what is posted: all about the run, and a sentence for chats (`text`, `content`)."""
    sentence = f"“{run.name}” {run.status.state}: {run.status.detail}"
    told = run_told(run)
    return {"event": "run_ended", "text": sentence, "content": sentence[:1900], "run": told}


class Notifier:
    """Looks now and then which runs have ended, and posts each once, whoever else is looking too.

    Sending is done beside everything else, and so is asking for the address, for a keyring may
    wait for its owner: while it does not answer, a run's end stays to be told. What goes wrong is
    told on the error output and kept in `problem`, without the address, which may be a secret.
    """

    def __init__(self, store: RunStore, address: Callable[[], SecretStr | None]) -> None:
        self._store = store
        self._address = address
        self._busy: set[str] = set()
        self._untold: set[str] = set()
        self._again = 0.0
        self._lock = threading.Lock()
        self._sending: list[threading.Thread] = []
        self.problem: str | None = None

    def look(self) -> None:
        """Post what has ended since the last look. Raises nothing that would stop anything."""
        runs = {run.id: run for run in self._store.list()}
        names = {name for name in self._busy if name in runs and not runs[name].busy}
        self._busy = {run.id for run in runs.values() if run.busy}
        with self._lock:
            if names or time.monotonic() >= self._again:
                names |= self._untold
                self._untold = set()
        ended = [runs[name] for name in sorted(names - self._busy) if name in runs]
        if ended:
            sending = threading.Thread(target=self._send, args=(ended,), daemon=True)
            self._sending = [one for one in self._sending if one.is_alive()] + [sending]
            sending.start()

    def finish(self) -> None:
        """Wait for what is being sent: before a program ends."""
        for sending in self._sending:
            sending.join(2 * (PATIENCE_SECONDS + TIMEOUT_SECONDS))

    def _tell(self, problem: str) -> None:
        self.problem = problem
        print(f"The end of a run could not be posted: {problem}", file=sys.stderr, flush=True)

    def _send(self, ended: list[RunSummary]) -> None:
        try:
            address = self._address()
            token = secret(WEBHOOK_TOKEN) if address else None
        except (UserError, OSError) as error:
            with self._lock:
                self._untold |= {run.id for run in ended}
                self._again = time.monotonic() + AGAIN_SECONDS
            self._tell(str(error))
            return
        for run in ended if address else ():
            # Only now: what is claimed is told by nobody else.
            if address and _claim(run.folder):
                problem = _post(address, token, ended_message(run))
                self.problem = None
                if problem is not None:
                    self._tell(problem)


def _claim(run: RunFolder) -> bool:
    """Tell whether this program is the one that tells of the run: the first to make a file."""
    try:
        os.close(os.open(run.control / _CLAIM, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        return False
    except OSError:
        return True  # a folder that cannot be written: better told twice than never
    return True


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An address that leads elsewhere is refused: who is told is what was set."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow nothing."""
        return


def post(address: SecretStr, message: dict[str, Any]) -> str | None:
    """Post a message as JSON; return why that failed, in words without the address, or None.

    The secret `KOHYA_GUI_WEBHOOK_TOKEN` is sent along as a bearer token.
    """
    try:
        return _post(address, secret(WEBHOOK_TOKEN), message)
    except UserError as error:
        return str(error)


def _post(address: SecretStr, token: SecretStr | None, message: dict[str, Any]) -> str | None:
    place = address.get_secret_value()
    if wrong_address(place):
        return "its address does not begin with http:// or https://"
    headers = {"Content-Type": "application/json", "User-Agent": "kohya_gui"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.get_secret_value()}"
    data = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    try:
        request = urllib.request.Request(place, data, headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(request, timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or "nobody answers there")
    except (OSError, HTTPException, ValueError) as error:
        return type(error).__name__
