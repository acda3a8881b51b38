"""A keyring for tests; a program gets it by `PYTHON_KEYRING_BACKEND`."""

from __future__ import annotations

import keyring.errors
from keyring.backend import KeyringBackend


class InMemory(KeyringBackend):
    """A keyring that forgets when the test ends; `shut` as a desktop's that is locked."""

    priority = 1.0  # type: ignore[assignment]  # the library's own is a property of the class

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.shut = False

    def _open(self) -> dict[tuple[str, str], str]:
        if self.shut:
            raise keyring.errors.KeyringLocked("the collection is locked")
        return self.kept

    def get_password(self, service: str, username: str) -> str | None:
        return self._open().get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self._open()[service, username]
