"""The doctor names each mismatch with a remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.setup.small_world import PROJECT, SmallWorld
from tools.setup import doctor
from tools.setup.environment import Checkout, Stamp
from tools.setup.hardware import Gpu, Hardware
from tools.setup.torch_builds import choose

CARD = Hardware("Linux", "x86_64", "nvidia", (Gpu("RTX 5090", (12, 0)),), "580.95.05", "13.0")
OLD_DRIVER = Hardware("Linux", "x86_64", "nvidia", (Gpu("RTX 3090", (8, 6)),), "535.54.03")
NONE = Hardware("Linux", "x86_64", "none")


def torch_facts(**changed: Any) -> dict[str, Any]:
    device = {"name": "RTX 5090", "capability": [12, 0], "memory_mib": 32000, "gfx": ""}
    facts: dict[str, Any] = {
        "version": "2.13.0+cu130",
        "cuda": "13.0",
        "hip": None,
        "arch_list": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
        "devices": [device],
        "mps": False,
    }
    return facts | changed


def judged(facts: dict[str, Any] | str, hardware: Hardware) -> list[doctor.Finding]:
    report = doctor.Report()
    doctor.check_torch(report, facts, hardware, choose(hardware))
    return report.findings


def test_a_fitting_build_is_no_finding() -> None:
    assert judged(torch_facts(), CARD) == []


def test_missing_kernels_name_the_card_and_the_build_to_take() -> None:
    (finding,) = judged(torch_facts(arch_list=["sm_80", "sm_90"], version="2.13.0+cu126"), CARD)
    assert (finding.subject, finding.level) == ("kernels", "mend")
    assert "sm_120" in finding.message
    assert "--torch cu130" in finding.remedy


def test_a_driver_too_old_for_the_build() -> None:
    (finding,) = judged(torch_facts(devices=[]), OLD_DRIVER)
    assert finding.subject == "driver"
    assert "535.54.03" in finding.message
    assert "580" in finding.message
    assert "--torch cu126" in finding.remedy


def test_a_cpu_build_beside_a_card() -> None:
    cpu = torch_facts(version="2.13.0+cpu", cuda=None, arch_list=[], devices=[])
    (finding,) = judged(cpu, CARD)
    assert "without CUDA" in finding.message
    assert judged(cpu, NONE) == []


def test_cuda_that_sees_no_card_and_torch_that_does_not_load() -> None:
    (finding,) = judged(torch_facts(devices=[]), CARD)
    assert "sees no card" in finding.message
    (finding,) = judged("ImportError: libcudart.so.13: cannot open shared object file", CARD)
    assert "libcudart.so.13" in finding.message


@pytest.mark.parametrize(
    ("arch_list", "capability", "runs"),
    [
        (["sm_86"], (8, 6), True),
        (["sm_86"], (8, 9), True),
        (["sm_86"], (8, 0), False),
        (["sm_90"], (12, 0), False),
        (["sm_90", "compute_90"], (12, 0), True),
        (["sm_120"], (12, 1), True),
        (["sm_90a"], (9, 0), True),
        ([], (8, 6), False),
    ],
)
def test_has_kernels(arch_list: list[str], capability: tuple[int, int], runs: bool) -> None:
    assert doctor.has_kernels(arch_list, capability) is runs


def test_low_disk_and_a_folder_without_write_access(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: object) -> Any:
        return type("Usage", (), {"free": 3 * 1024**3})

    def refused(**_more: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(doctor.shutil, "disk_usage", full)
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refused)
    report = doctor.Report()
    doctor.check_folder(report, Checkout(tmp_path))
    assert [finding.subject for finding in report.findings] == ["disk", "folder"]
    assert "3.0 GB" in report.findings[0].message


def test_pythons_too_old_and_too_new(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, word in (((3, 10, 1), "old"), ((3, 14, 0), "new")):
        monkeypatch.setattr(doctor.sys, "version_info", version)
        report = doctor.Report()
        doctor.check_python(report)
        assert f"too {word}" in report.findings[0].message


def test_extras_are_only_notes() -> None:
    stamp = Stamp(True, "", "3.12.1", ("8bit",), "cpu", "2.13.0+cpu", "")
    report = doctor.Report()
    doctor.check_extras(report, stamp, NONE)
    assert report.ok
    told = " ".join(finding.remedy for finding in report.findings)
    assert "--extras trackers" in told
    assert "--extras optimizers" in told
    assert "8bit" not in told
    assert "xformers" not in told, "nothing for a machine without an NVIDIA card"


def test_the_probe_compares_this_environment_with_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# comment\nabsent-package==1.0 \\\n    --hash=sha256:0\npip==0.1 \\\n    --hash=sha256:0\n"
        "other-system==1 ; sys_platform == 'other' \\\n    --hash=sha256:0\n"
    )
    probe = PROJECT / "tools" / "setup" / "probe.py"
    command = [sys.executable, os.fspath(probe), "packages", os.fspath(lock)]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert answer["missing"] == ["absent-package==1.0"]
    assert len(answer["different"]) == 1
    assert "pinned: ==0.1" in answer["different"][0]


@pytest.mark.skipif(sys.platform == "win32", reason="drives setup.sh")
def test_before_set_up_the_doctor_runs_on_a_bare_python(tmp_path: Path) -> None:
    world = SmallWorld.make(tmp_path / "fresh", tmp_path / "wheels")
    code, output = world.setup("doctor", "--json")
    report = json.loads(output)
    assert code == 2
    assert report["ok"] is False
    assert report["facts"]["set_up"] is False
    assert [finding["message"] for finding in report["findings"] if finding["level"] == "mend"] == [
        "The project is not set up yet."
    ]
    assert not (world.root / ".venv").exists(), "the doctor changes nothing"
