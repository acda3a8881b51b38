"""The gate finds what it promises to find, and nothing in the project as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LONGEST
from tools.gate import links, patterns, run, sizes

PROJECT = Path(__file__).resolve().parents[2]


def write(root: Path, name: str, text: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def long_function(lines: int) -> str:
    body = "\n".join(f"        value = {number}" for number in range(lines - 1))
    return f'class A:\n    def f(self):\n        """Not\n        counted."""\n{body}\n'


def test_a_long_function_fails_unless_listed_and_the_list_only_shrinks(tmp_path: Path) -> None:
    write(tmp_path, "sd_scripts/a.py", long_function(90))
    allowed = write(tmp_path, sizes.ALLOWED, "# list\n")
    assert sizes.check(tmp_path)[0] == ["sd_scripts/a.py::A.f has 90 lines (limit: 80): cut it"]
    allowed.write_text("sd_scripts/a.py::A.f 90\n")
    assert sizes.check(tmp_path)[0] == []
    allowed.write_text("sd_scripts/a.py::A.f 95\n")
    assert "lower its number" in sizes.check(tmp_path)[0][0]
    write(tmp_path, "sd_scripts/a.py", long_function(80))
    problems, notes = sizes.check(tmp_path)
    assert "take it off" in problems[0]
    assert notes == ["sd_scripts/a.py::A.f has 80 lines (aim: 60)"]


def test_the_list_of_long_functions_has_not_grown() -> None:
    assert len(sizes.read_allowed(PROJECT)) == 0


def test_a_long_file_is_a_note(tmp_path: Path) -> None:
    write(tmp_path, sizes.ALLOWED, "")
    write(tmp_path, "tools/a.py", "a = 1\n" * 401)
    assert sizes.check(tmp_path) == ([], ["tools/a.py has 401 lines (aim: 400)"])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("run(a, shell=" + "True)", "shell=True"),
        ("torch.load(f, weights_only=" + "False)", "weights_only=False"),
        ("torch.load(f)", "torch.load: say weights_only=True"),
        ("load(a, trust_remote_code=" + "True)", "trust_remote_code=True"),
        ("os.system(a)", "os.system"),
        ("pickle.loads(a)", "pickle.loads"),
    ],
)
def test_forbidden_calls(code: str, reason: str) -> None:
    found = list(patterns.in_code(f"x = 1\n{code}\n"))
    assert found[0][0] == 2
    assert reason in found[0][1]


def test_allowed_calls() -> None:
    code = "torch.load(f, weights_only=True)\nrun([a], shell=False)\njson.load(f)\n"
    assert list(patterns.in_code(code)) == []


def test_machine_paths_and_unfinished_work(tmp_path: Path) -> None:
    home = "/".join(("", "root", "x"))
    profile = "\\".join(("C:", "Users", "me"))
    unfinished = "".join(("# TO", "DO later"))
    write(tmp_path, "tools/a.py", f"{unfinished}\nplace = '{home}'\n")
    write(tmp_path, "docs/a.md", f"fine\nsee {profile}\n")
    write(tmp_path, ".venv/b.md", f"{home}\n")
    found = sorted(problem.rpartition(":")[0] for problem in patterns.check(tmp_path))
    assert [place.split(": ")[0] for place in found] == [
        "docs/a.md:2",
        "tools/a.py:1",
        "tools/a.py:2",
    ]


def test_dead_links(tmp_path: Path) -> None:
    write(tmp_path, "docs/b.md", "# One, two!\n## Again\n## Again\n")
    text = (
        "[a](docs/b.md) [b](docs/b.md#one-two) [c](docs/b.md#again-1) [d](https://x.y)\n"
        "[e](docs/c.md)\n"
        "[f](docs/b.md#three) `[g](no.md)`\n"
        '<img src="no.png">\n'
        "```\n[h](no.md)\n```\n"
    )
    write(tmp_path, "README.md", text)
    assert links.check(tmp_path) == [
        "README.md:2: docs/c.md leads nowhere",
        "README.md:3: docs/b.md#three leads nowhere",
        "README.md:4: no.png leads nowhere",
    ]


def test_a_failing_tool_is_told_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.CHECKS, "good", run.python("-c", "pass"))
    monkeypatch.setitem(run.CHECKS, "bad", run.python("-c", "raise SystemExit('a reason')"))
    assert run.run_checks(["good"], tmp_path)
    assert not run.run_checks(["bad", "good"], tmp_path)
    told = capsys.readouterr().out
    assert "FAILED" in told
    assert "    a reason" in told
    assert run.main(["--only", "bad"], tmp_path) == 1
    assert run.main(["--only", "good"], tmp_path) == 0


def test_the_longest_tests_are_where_they_are_looked_for() -> None:
    assert [name for name in LONGEST if not (PROJECT / "tests" / name).is_file()] == []
