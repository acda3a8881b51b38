"""What the doctor tells: findings with remedies, and the report that holds them, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from sd_scripts.dataset.decisions import CropWindow

Weight = Literal["bad", "doubtful", "note"]
RemedyKind = Literal["exclude", "crop", "caption", "repeats"]

REPORT_VERSION: Final = 1


@dataclass(frozen=True)
class Remedy:
    """Something to do about a finding that touches no original and can be taken back.

    `exclude` leaves the pictures in `pictures` out; `crop` uses the parts in `windows`; `repeats`
    shows the pictures of folders so often; `caption` leads to the captions of `pictures`, where
    `prefix`, if there is one, would be put in front. Pictures and folders are absolute paths.
    """

    kind: RemedyKind
    label: str
    pictures: tuple[str, ...] = ()
    windows: Mapping[str, CropWindow] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    prefix: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: which pictures, what it means, what can be done.

    `code` names the check. `groups` are pictures that belong together (twins, equal captions);
    `details` say more about single pictures. Pictures are absolute paths.
    """

    code: str
    weight: Weight
    verdict: str
    pictures: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Report:
    """What came of a whole examination.

    `problems` are sentences about the settings or folders themselves. `seconds` is the time each
    check took; "measure" is reading the pictures, which several checks share.
    """

    folder: str
    num_pictures: int
    verdict: str
    findings: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    complete: bool = True

    def to_json(self) -> str:
        """Return the report as a file's text (ASCII, so that every file name can be told)."""
        return json.dumps({"version": REPORT_VERSION, **asdict(self)}, indent=1) + "\n"


def report_from_json(text: str) -> Report:
    """Read a report. Raises `ValueError` for anything that is none, or of another version."""
    tree = json.loads(text)
    if not isinstance(tree, dict) or tree.pop("version", None) != REPORT_VERSION:
        raise ValueError("this is no report of this version")
    try:
        findings = tuple(_finding(one) for one in tree.pop("findings"))
        problems = tuple(tree.pop("problems"))
        return Report(**tree, findings=findings, problems=problems)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this is no report ({error})") from error


def _finding(tree: dict[str, Any]) -> Finding:
    tree["pictures"] = tuple(tree["pictures"])
    tree["groups"] = tuple(tuple(group) for group in tree["groups"])
    tree["remedies"] = tuple(_remedy(one) for one in tree["remedies"])
    return Finding(**tree)


def _remedy(tree: dict[str, Any]) -> Remedy:
    tree["pictures"] = tuple(tree["pictures"])
    tree["windows"] = {name: CropWindow(*window) for name, window in tree["windows"].items()}
    return Remedy(**tree)
