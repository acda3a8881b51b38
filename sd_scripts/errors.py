"""What goes wrong, in words a user can act on, and the exit codes other programs read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

EXIT_OK: Final = 0
EXIT_FAULT: Final = 1
EXIT_USER: Final = 2

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a job, its files or its machine.

    `message` says what is wrong, `option` names the option (or options, joined by ", ") to look
    at, `hint` says what to do about it. Warnings are told but stop nothing.
    """

    message: str
    option: str | None = None
    hint: str | None = None
    severity: Severity = "error"

    def __str__(self) -> str:
        text = f"{self.option}: {self.message}" if self.option else self.message
        return f"{text} → {self.hint}" if self.hint else text


class UserError(Exception):
    """Something the user can mend; it carries every problem that was found, not just the first."""

    problems: tuple[Problem, ...]

    def __init__(self, message: str, *, option: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.problems = (Problem(message, option, hint),)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> UserError:
        """Make one error of many problems; at least one is needed."""
        told = tuple(problems)
        assert told, "a UserError needs at least one problem"
        error = cls("\n".join(str(problem) for problem in told))
        error.problems = told
        return error


def errors_among(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems that must be mended before a job can run."""
    return [problem for problem in problems if problem.severity == "error"]


def raise_if_errors(problems: Iterable[Problem]) -> None:
    """Raise one `UserError` with every error among `problems`, if there is any."""
    if found := errors_among(problems):
        raise UserError.of(found)
