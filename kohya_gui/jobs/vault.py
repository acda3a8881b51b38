"""Secrets: from the environment, else from the system's keyring; they stand in no file of ours.

A secret is a `SecretStr` wherever it goes: printed, logged or put into a page, it shows as stars.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal, TypeVar

from pydantic import SecretStr

from sd_scripts.errors import UserError

PASSWORD: Final = "KOHYA_GUI_PASSWORD"
WEBHOOK: Final = "KOHYA_GUI_WEBHOOK"
WEBHOOK_TOKEN: Final = "KOHYA_GUI_WEBHOOK_TOKEN"
WANDB_KEY: Final = "WANDB_API_KEY"
SECRETS: Final[Mapping[str, str]] = {
    PASSWORD: "the password of the page's login",
    WEBHOOK: "the address that is told when a run ends",
    WEBHOOK_TOKEN: "the token that is sent along to that address",
    WANDB_KEY: "the key of Weights & Biases",
}
"""Every secret by the variable that may hold it, and what it is."""

KEYRING_COMMAND: Final = "setup install --extras keyring"
"""Adds the package that the keyring needs."""

SERVICE: Final = "kohya_gui"
"""The name under which the keyring keeps them."""

PATIENCE_SECONDS: Final = 30.0
"""So long its owner has to open the keyring when it asks."""

LONGEST: Final = 10_000
"""A secret has no more letters."""

LOOK_SECONDS: Final = 5.0
"""So long it has to tell whether it is there at all."""

_QUESTIONS: Final = threading.BoundedSemaphore(8)
"""So many may wait for the keyring at once."""

_Answer = TypeVar("_Answer")
KeyringState = Literal["ready", "missing", "closed", "silent"]
_USUAL: Final = 1.0
"""Keyrings below this priority keep nothing, or in plain text (see keyring's own documentation)."""


@dataclass(frozen=True)
class Keyring:
    """Whether secrets can be kept: "missing" without the package, "closed" where the system has no
    safe for them, as servers without a desktop, "silent" while it waits for its owner, say;
    `reason` says why."""

    state: KeyringState
    reason: str = ""

    def needed(self) -> None:
        """Raise `UserError` unless secrets can be kept."""
        if self.state == "missing":
            raise UserError(
                "The package keyring is not installed.",
                hint=f"Add it: {KEYRING_COMMAND}. Or set the variable instead.",
            )
        if self.state == "closed":
            raise UserError(
                f"This machine keeps no secrets: {self.reason}.",
                hint="Set the variable instead, as on servers without a desktop.",
            )
        if self.state == "silent":
            raise UserError(
                "The keyring does not answer.",
                hint="Open it (log in to the desktop, or unlock it), or set the variable instead.",
            )


def look_at_keyring(patience: float | None = None) -> Keyring:
    """Tell whether secrets can be kept on this machine. Reads none of them.

    A keyring may ask its owner in a window already when it is looked at: it has `patience` seconds,
    at most `LOOK_SECONDS`.
    """
    if find_spec("keyring") is None:
        return Keyring("missing")
    try:
        import keyring  # noqa: F401 - takes a while on a slow disk, which is not the keyring's silence

        return _within(min(LOOK_SECONDS, patience or LOOK_SECONDS), _usable)
    except TimeoutError:
        return Keyring("silent")
    except Exception as error:  # noqa: BLE001 - backends raise what their system does, and are told
        return Keyring("closed", ": ".join(filter(None, (type(error).__name__, str(error)))))


def _usable() -> Keyring:
    import keyring  # takes a while and is seldom needed

    if keyring.get_keyring().priority >= _USUAL:
        return Keyring("ready")
    return Keyring("closed", "there is no keyring service")


def in_environment(name: str, variables: Mapping[str, str] | None = None) -> SecretStr | None:
    """Return what the variable of a secret holds; None if nothing."""
    text = _clean(name, (os.environ if variables is None else variables).get(name, ""))
    return SecretStr(text) if text else None


def secret(
    name: str, variables: Mapping[str, str] | None = None, patience: float | None = None
) -> SecretStr | None:
    """Return a secret of `SECRETS`; None if it stands nowhere.

    The keyring may ask its owner to be opened, and waits `patience` seconds for it, else
    `PATIENCE_SECONDS`. Raises `UserError` if it has to be and is not.
    """
    if (found := in_environment(name, variables)) is not None:
        return found
    text = _kept(name, patience)
    return SecretStr(text) if text else None


def keep(name: str, value: SecretStr) -> None:
    """Put a secret into the keyring. Raises `UserError`."""
    _check_name(name)
    if not value.get_secret_value().strip():
        raise UserError("The secret is empty.", hint=f"To take it away: secret --forget {name}.")
    look_at_keyring().needed()
    import keyring

    text = _clean(name, value.get_secret_value())
    _answered(name, lambda: keyring.set_password(SERVICE, name, text))


def forget(name: str) -> bool:
    """Take a secret out of the keyring; False if it was not there. Raises `UserError`."""
    _check_name(name)
    look_at_keyring().needed()
    if not _kept(name):
        return False
    import keyring

    _answered(name, lambda: keyring.delete_password(SERVICE, name))
    return True


def _kept(name: str, patience: float | None = None) -> str:
    """Return what the keyring keeps, "" if nothing."""
    found = look_at_keyring(patience)
    if found.state == "silent":
        raise _no_answer(name, TimeoutError.__name__)
    if found.state != "ready":
        return ""
    import keyring

    kept = _answered(name, lambda: keyring.get_password(SERVICE, name), patience)
    return _clean(name, kept or "")


def _clean(name: str, text: str) -> str:
    """Take away what was pasted around a key; a password may begin and end as it likes."""
    return text if name == PASSWORD else text.strip()


def _answered(name: str, ask: Callable[[], _Answer], patience: float | None = None) -> _Answer:
    """Return what the keyring answers. It may wait for its owner to open it; a queue must not wait
    with it for ever. Raises `UserError`."""
    try:
        return _within(PATIENCE_SECONDS if patience is None else patience, ask)
    except Exception as error:  # noqa: BLE001 - backends raise what their system does, and are told
        # Not the error itself: what failed may hold the secret.
        raise _no_answer(name, type(error).__name__) from None


def _no_answer(name: str, kind: str) -> UserError:
    return UserError(
        f"The keyring does not answer for {name} ({kind}).",
        hint="Open it (log in to the desktop, or unlock it), or set the variable instead.",
    )


def _within(seconds: float, ask: Callable[[], _Answer]) -> _Answer:
    """Return an answer, or raise what asking raises, `TimeoutError` after so many seconds."""
    asked: Future[_Answer] = Future()

    def work() -> None:
        try:
            asked.set_result(ask())
        except Exception as error:  # noqa: BLE001 - raised again for whoever asked
            asked.set_exception(error)
        finally:
            _QUESTIONS.release()

    # What never answers must not gather threads for ever.
    if not _QUESTIONS.acquire(timeout=seconds):
        raise TimeoutError
    threading.Thread(target=work, name="keyring", daemon=True).start()
    return asked.result(seconds)


def _check_name(name: str) -> None:
    if name not in SECRETS:
        raise UserError(f"There is no secret {name}.", hint=f"Known: {', '.join(SECRETS)}.")
