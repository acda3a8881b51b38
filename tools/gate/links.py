"""Links in the documents: a link to a file of ours must lead to one, a link to a heading too."""

from __future__ import annotations

import re
from pathlib import Path

from tools.gate.patterns import text_files

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")


def check(root: Path) -> list[str]:
    """Return every dead link in a Markdown file as `file:line: target`."""
    problems = []
    for file in text_files(root):
        if file.suffix != ".md":
            continue
        place = file.relative_to(root).as_posix()
        for number, line in enumerate(_without_code(file.read_text(encoding="utf-8")), 1):
            for found in LINK.finditer(line):
                target = found.group(1) or found.group(2)
                if not re.match(r"[a-z]+:", target) and not leads_somewhere(file, target):
                    problems.append(f"{place}:{number}: {target} leads nowhere")
    return problems


def _without_code(text: str) -> list[str]:
    """Return the lines of a document with fenced code and code spans blanked."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            lines.append("")
        else:
            lines.append("" if fenced else re.sub(r"`[^`]*`", "", line))
    return lines


def leads_somewhere(file: Path, target: str) -> bool:
    """Say whether a relative target, with or without a #heading, exists."""
    path, _, heading = target.partition("#")
    aim = (file.parent / path) if path else file
    if not aim.exists():
        return False
    if not heading or aim.suffix != ".md":
        return True
    return heading in headings(aim.read_text(encoding="utf-8"))


def headings(text: str) -> set[str]:
    """Return the anchors that a Markdown page gives its headings (GitHub's rule)."""
    anchors: set[str] = set()
    for line in text.splitlines():
        if found := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            plain = re.sub(r"[^\w\- ]", "", found.group(1).lower())
            anchor = plain.strip().replace(" ", "-")
            number = 0
            while (name := f"{anchor}-{number}" if number else anchor) in anchors:
                number += 1
            anchors.add(name)
    return anchors
